# How good it is: selfcheck.csv, accuracy.csv, where the truth is known, report.html; what made it: provenance.json.


rule selfcheck:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        pairs="results/{dataset}/pairs.csv",
        model=MODEL,
        code=modules("selfcheck"),
    output:
        "results/{dataset}/selfcheck.csv",
    log:
        "results/{dataset}/logs/selfcheck.log",
    benchmark:
        "results/{dataset}/benchmarks/selfcheck.tsv"
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000, lambda tiles: 2 * min(tiles.count, 256)),
        runtime=minutes(60, 0.1),
        device="auto",
    params:
        settings=SETTINGS.selfcheck.model_dump_json(),
        model=lambda wildcards, input: f"--model {shlex.quote(str(input.model))}" if input.model else "",
    shell:
        "dlir selfcheck --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs} {params.model}"
        " --output {output} --settings {params.settings:q} --device {resources.device} 2>&1 | tee {log}"


rule accuracy:
    input:
        tiles="results/{dataset}/tiles.csv",
        placement="results/{dataset}/placement.csv",
        truth=lambda wildcards: DATASETS[wildcards.dataset].truth,
        code=modules("accuracy"),
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
    shell:
        "dlir accuracy --tiles {input.tiles} --placement {input.placement} --truth {input.truth:q} --output {output}"
        " 2>&1 | tee {log}"


rule report:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        affines="results/{dataset}/affines.csv",
        placement="results/{dataset}/placement.csv",
        stage="results/{dataset}/stage.csv",
        exposure="results/{dataset}/exposure.csv",
        mosaic="results/{dataset}/mosaic.ome.zarr",
        selfcheck="results/{dataset}/selfcheck.csv",
        accuracy=lambda wildcards: "results/{dataset}/accuracy.csv" if DATASETS[wildcards.dataset].truth else [],
        code=modules("report"),
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
        settings=SETTINGS.report.model_dump_json(),
        accuracy=lambda wildcards, input: f"--accuracy {input.accuracy}" if input.accuracy else "",
    shell:
        "dlir report --tiles {input.tiles} --illumination {input.illumination} --affines {input.affines}"
        " --placement {input.placement} --stage {input.stage} --exposure {input.exposure} --mosaic {input.mosaic}"
        " --selfcheck {input.selfcheck} {params.accuracy} --output {output} --settings {params.settings:q} 2>&1 | tee {log}"


rule provenance:
    input:
        tiles="results/{dataset}/tiles.csv",
        results=[
            f"results/{{dataset}}/{name}" for name in ["illumination.tif", "pairs.csv", "affines.csv", "placement.csv"]
        ],
        model=MODEL,
        benchmarks=lambda wildcards: [
            f"results/{wildcards.dataset}/benchmarks/{stage}.tsv" for stage in measured(wildcards)
        ],
        training=f"{LEARNT}/benchmarks/train.tsv" if MODEL and not PINNED else [],
        project=placed(ROOT / "pyproject.toml"),
        code=modules("provenance"),
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
        settings=lambda wildcards: SETTINGS.model_copy(
            update={"datasets": {name: DATASETS[name] for name in taught_by(wildcards)}}
        ).model_dump_json(by_alias=True),
    shell:
        "dlir provenance --tiles {input.tiles} --results {input.results} {input.model:q} --project {input.project}"
        " --benchmarks {input.benchmarks} {input.training} --output {output} --settings {params.settings:q} 2>&1 | tee {log}"
