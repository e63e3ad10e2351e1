# accuracy.csv, where the truth is known; report.html; what made the results: provenance.json.


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
        mem_mb=memory(1000, lambda tiles: 0),
        runtime=minutes(10, 0),
    params:
        dlir=dlir_command,
        code=steps.code("accuracy"),
        truth=lambda wildcards: working_copy(str(DATASETS[wildcards.dataset].truth)),
        given=lambda wildcards: "" if DEMO else given(DATASETS[wildcards.dataset].truth),
    shell:
        "{params.dlir} accuracy --tiles {input.tiles} --placement {input.placement} --truth {params.truth:q} --output {output}"
        " {params.given}"
        " --log-file {log} --dataset {wildcards.dataset}"


rule report:
    input:
        raw=lambda wildcards: fetched([wildcards.dataset]),
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        affines="results/{dataset}/affines.csv",
        placement="results/{dataset}/placement.csv",
        stage="results/{dataset}/stage.csv",
        exposure="results/{dataset}/exposure.csv",
        mosaic="results/{dataset}/mosaic.ome.zarr",
        sums="results/{dataset}/mosaic.sha256",
        selfcheck="results/{dataset}/selfcheck.csv",
        accuracy=lambda wildcards: "results/{dataset}/accuracy.csv" if DATASETS[wildcards.dataset].truth else [],
    output:
        report("results/{dataset}/report.html", caption="../report/report.rst", category="{dataset}"),
    log:
        "results/{dataset}/logs/report.log",
    benchmark:
        "results/{dataset}/benchmarks/report.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(2000, lambda tiles: 16),
        runtime=minutes(20, 0.1),
    params:
        dlir=dlir_command,
        code=steps.code("report"),
        settings=SETTINGS.report.model_dump_json(),
        accuracy=lambda wildcards, input: f"--accuracy {input.accuracy}" if input.accuracy else "",
    shell:
        "{params.dlir} report --tiles {input.tiles} --illumination {input.illumination} --affines {input.affines}"
        " --placement {input.placement} --stage {input.stage} --exposure {input.exposure} --mosaic {input.mosaic}"
        " --selfcheck {input.selfcheck} {params.accuracy} --output {output} --settings {params.settings:q}"
        " --log-file {log} --dataset {wildcards.dataset}"


rule index:
    input:
        [
            lambda wildcards, result=result: [f"results/{name}/{result}" for name in members(wildcards.group)]
            for result in ["report.html", "placement.csv", "tiles.csv", "mosaic.ome.zarr"]
        ],
    output:
        report("results/{group}/index.html", caption="../report/report.rst", category="{group}"),
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
    shell:
        "{params.dlir} index --results {params.results:q} --output {output} {params.wells} --log-file {log} --dataset {wildcards.group}"


rule provenance:
    input:
        tiles="results/{dataset}/tiles.csv",
        results=[
            f"results/{{dataset}}/{name}"
            for name in ["illumination.tif", "pairs.csv", "affines.csv", "placement.csv", "exposure.csv"]
        ],
        model=MODEL,
        benchmarks=lambda wildcards: [
            f"results/{wildcards.dataset}/benchmarks/{step}.tsv" for step in measured(wildcards)
        ],
        training=f"{LEARNT}/benchmarks/train.tsv" if MODEL and not PINNED else [],
    output:
        "results/{dataset}/provenance.json",
    log:
        "results/{dataset}/logs/provenance.log",
    benchmark:
        "results/{dataset}/benchmarks/provenance.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(1000, lambda tiles: 0),
        runtime=minutes(10, 0),
    params:
        dlir=dlir_command,
        code=[steps.code(step) for step in steps.STEPS],
        model=model_file,
        given=MODEL_GIVEN,
        settings=lambda wildcards: SETTINGS.model_copy(
            update={"datasets": {name: DATASETS[name] for name in taught_by(wildcards)}}
        ).model_dump_json(by_alias=True),
    shell:
        "{params.dlir} provenance --tiles {input.tiles} --results {input.results} {params.model} {params.given}"
        " --benchmarks {input.benchmarks} {input.training} --output {output} --settings {params.settings:q}"
        " --log-file {log} --dataset {wildcards.dataset}"
