# Images -> files.csv -> tiles.csv; without a dataset of one's own, the demo's images come first.

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
        message:
            "demo: makes the tiles of the demo"
        shell:
            "{params.dlir} demo --output {params.folder} --settings {params.settings:q} --log-file {log} --dataset demo"


rule tiles:
    input:
        raw=raw_tiles,
        positions=lambda wildcards: in_bucket(DATASETS[wildcards.dataset].table),
    output:
        "results/{dataset}/files.csv",
    log:
        "results/{dataset}/logs/tiles.log",
    benchmark:
        "results/{dataset}/benchmarks/tiles.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("tiles"),
        runtime=minutes("tiles"),
    params:
        dlir=dlir_command,
        code=steps.code("tiles"),
        settings=lambda wildcards: layout_of(DATASETS[wildcards.dataset]),
        content=content,
    message:
        "{wildcards.dataset}: finds and checks the tiles"
    shell:
        "{params.dlir} tiles --output {output} --settings {params.settings:q} {params.content}"
        " --log-file {log} --dataset {wildcards.dataset}"


rule survey:
    input:
        raw=lambda wildcards: fetched([wildcards.dataset]),
        files="results/{dataset}/files.csv",
        positions=lambda wildcards: in_bucket(DATASETS[wildcards.dataset].table),
    output:
        tiles="results/{dataset}/tiles.csv",
        survey="results/{dataset}/survey.csv",
    log:
        "results/{dataset}/logs/survey.log",
    benchmark:
        "results/{dataset}/benchmarks/survey.tsv"
    wildcard_constraints:
        dataset=only(REGISTERED),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("survey"),
        runtime=minutes("survey"),
    params:
        dlir=dlir_command,
        code=steps.code("survey"),
        layout=lambda wildcards: layout_of(DATASETS[wildcards.dataset]),
        settings=SETTINGS.layout.model_dump_json(),
        others=other_rounds,
    message:
        "{wildcards.dataset}: finds the steps from tile to tile"
    shell:
        "{params.dlir} survey --files {input.files} --output {output.tiles} --survey {output.survey}"
        " --layout {params.layout:q} --settings {params.settings:q} {params.others}"
        " --log-file {log} --dataset {wildcards.dataset}"
