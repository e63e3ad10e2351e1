# accuracy.csv, where the truth is known; in one process the verdict, what made the results, and the page that shows both.


rule accuracy:
    input:
        tiles="results/{dataset}/tiles.csv",
        placement="results/{dataset}/placement.csv",
        truth=lambda wildcards: DEMO_TRUTH if DEMO else in_bucket(DATASETS[wildcards.dataset].truth),
    output:
        "results/{dataset}/accuracy.csv",
    log:
        "results/{dataset}/logs/accuracy.log",
    benchmark:
        "results/{dataset}/benchmarks/accuracy.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("accuracy"),
        runtime=minutes("accuracy"),
    params:
        dlir=dlir_command,
        code=steps.code("accuracy"),
        truth=lambda wildcards: working_copy(str(DATASETS[wildcards.dataset].truth)),
        given=lambda wildcards: "" if DEMO else given(DATASETS[wildcards.dataset].truth),
    message:
        "{wildcards.dataset}: compares the placement with the truth"
    shell:
        "{params.dlir} accuracy --tiles {input.tiles} --placement {input.placement} --truth {params.truth:q} --output {output}"
        " {params.given}"
        " --log-file {log} --dataset {wildcards.dataset}"


rule report:
    input:
        raw=lambda wildcards: fetched([wildcards.dataset]),
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        lens="results/{dataset}/lens.csv",
        registration=lambda wildcards: of_registration(wildcards, "affines.csv", "stage.csv", "selfcheck.csv"),
        known_pairs=lambda wildcards: of_registration(wildcards, "known_pairs.csv"),
        placement="results/{dataset}/placement.csv",
        exposure="results/{dataset}/exposure.csv",
        surveyed=lambda wildcards: of_registration(wildcards, "survey.csv"),
        overrides=lambda wildcards: in_bucket(DATASETS[wildcards.dataset].overrides),
        mosaic="results/{dataset}/mosaic.ome.zarr",
        sums="results/{dataset}/mosaic.sha256",
        accuracy=lambda wildcards: "results/{dataset}/accuracy.csv" if DATASETS[wildcards.dataset].truth else [],
        hashed=lambda wildcards: of_registration(wildcards, "pairs.csv", "affines.csv"),
        model=lambda wildcards: [] if wildcards.dataset in ADOPTED else model(wildcards),
        history=lambda wildcards: [] if wildcards.dataset in ADOPTED else learnt(wildcards, "model.csv"),
        benchmarks=lambda wildcards: [
            f"results/{wildcards.dataset}/benchmarks/{step}.tsv" for step in measured(wildcards)
        ],
        training=lambda wildcards: [] if wildcards.dataset in ADOPTED else learnt(wildcards, "benchmarks/train.tsv"),
    output:
        verdict="results/{dataset}/verdict.json",
        page=report(
            "results/{dataset}/report.html",
            caption="../report/report.rst",
            category="{dataset}",
            labels={"page": "report"},
        ),
        files=directory("results/{dataset}/report_files"),
        provenance="results/{dataset}/provenance.json",
    log:
        "results/{dataset}/logs/report.log",
    benchmark:
        "results/{dataset}/benchmarks/report.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("report"),
        runtime=minutes("report"),
    params:
        dlir=dlir_command,
        code=[steps.code(step) for step in steps.STEPS],
        settings=SETTINGS.report.model_dump_json(),
        judged=judged_options,
        overrides=given_overrides,
        registration=registration_options,
        accuracy=lambda wildcards, input: f"--accuracy {input.accuracy}" if input.accuracy else "",
        training=lambda wildcards, input: f"--training {input.history}" if input.history else "",
        model=lambda wildcards: "" if wildcards.dataset in ADOPTED else model_file(wildcards),
        given=lambda wildcards: f"{MODEL_GIVEN} {given(DATASETS[wildcards.dataset].overrides)}",
        all=lambda wildcards: settings_with(seen_by(wildcards)),
        configs=own_configs,
    message:
        "{wildcards.dataset}: writes the report"
    shell:
        "{params.dlir} judge --tiles {input.tiles} --placement {input.placement} --exposure {input.exposure} --lens {input.lens}"
        " {params.judged} {params.overrides} --output {output.verdict}"
        " --then provenance --tiles {input.tiles} --results {input.illumination} {input.hashed} {input.lens} {input.placement}"
        " {input.exposure} {params.model} --benchmarks {input.benchmarks} {input.training} --output {output.provenance}"
        " --settings {params.all:q} {params.configs} --log-file {log} --dataset {wildcards.dataset} {params.given}"
        " --then report --tiles {input.tiles} --illumination {input.illumination} --lens {input.lens} {params.registration}"
        " --placement {input.placement} --exposure {input.exposure} --mosaic {input.mosaic} {params.accuracy}"
        " {params.training} --provenance {output.provenance} --verdict {output.verdict} --output {output.page} --settings {params.settings:q}"


rule index:
    input:
        lambda wildcards: shown_on_index(members(wildcards.group)),
    output:
        report(
            "results/{group}/index.html",
            caption="../report/index.rst",
            category="All datasets",
            labels={"page": "{group}"},
        ),
    log:
        "results/{group}/logs/index.log",
    benchmark:
        "results/{group}/benchmarks/index.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        dlir=dlir_command,
        code=steps.code("index"),
        results=lambda wildcards: [working_copy(f"results/{name}") for name in members(wildcards.group)],
        wells=wells_of,
    message:
        "{wildcards.group}: writes the page of its datasets"
    shell:
        "{params.dlir} index --results {params.results:q} --output {output} {params.wells} --log-file {log} --dataset {wildcards.group}"


rule index_of_all:
    input:
        shown_on_index(WHOLE),
    output:
        report(
            "results/index.html",
            caption="../report/index.rst",
            category="All datasets",
            labels={"page": "all datasets"},
        ),
    log:
        "results/logs/index.log",
    benchmark:
        "results/benchmarks/index.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        dlir=dlir_command,
        code=steps.code("index"),
        results=[working_copy(f"results/{name}") for name in WHOLE],
    message:
        "all datasets: writes the page that shows them beside each other"
    shell:
        "{params.dlir} index --results {params.results:q} --output {output} --log-file {log}"
