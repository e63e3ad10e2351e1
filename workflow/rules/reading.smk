# Images -> tiles.csv; without a dataset of one's own, the demo's images come first.

if DEMO:

    rule demo:
        output:
            TILES["demo"],
            truth=DEMO_TRUTH,
        log:
            "results/demo/logs/demo.log",
        benchmark:
            "results/demo/benchmarks/demo.tsv"
        conda:
            "../../envs/dlir.yaml"
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            dlir=dlir_command,
            code=steps.code("demo"),
            folder=lambda wildcards, output: Path(output.truth).parent,
            settings=SETTINGS.demo.model_dump_json(),
        shell:
            "{params.dlir} demo --output {params.folder} --settings {params.settings:q} --log-file {log} --dataset demo"


rule tiles:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        positions=lambda wildcards: DATASETS[wildcards.dataset].positions or [],
    output:
        "results/{dataset}/tiles.csv",
    log:
        "results/{dataset}/logs/tiles.log",
    benchmark:
        "results/{dataset}/benchmarks/tiles.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(1000, lambda tiles: 12),
        runtime=minutes(10, 0.05),
    params:
        dlir=dlir_command,
        code=steps.code("tiles"),
        settings=lambda wildcards: with_working_copies(DATASETS[wildcards.dataset]).model_dump_json(
            exclude={"truth", "flat", "dark"}
        ),
    shell:
        "{params.dlir} tiles --output {output} --settings {params.settings:q}"
        " --log-file {log} --dataset {wildcards.dataset}"
