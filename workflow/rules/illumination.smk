# tiles.csv -> illumination.tif.


rule illumination:
    input:
        raw=lambda wildcards: fetched([wildcards.dataset]),
        tiles=lambda wildcards: learnt_from(
            [f"results/{wildcards.dataset}/tiles.csv"],
            "illumination",
            f"results/{wildcards.dataset}/illumination.key",
            lit(wildcards),
        ),
        flat=lambda wildcards: DATASETS[wildcards.dataset].flat or [],
        dark=lambda wildcards: DATASETS[wildcards.dataset].dark or [],
    output:
        light="results/{dataset}/illumination.tif",
        key="results/{dataset}/illumination.key",
    log:
        "results/{dataset}/logs/illumination.log",
    benchmark:
        "results/{dataset}/benchmarks/illumination.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(1000, lambda tiles: 3 * min(tiles.count, 128) + 32),
        runtime=minutes(10, 0.1),
    params:
        dlir=dlir_command,
        code=steps.code("illumination"),
        settings=SETTINGS.illumination.model_dump_json(),
        key=lit,
        given=lambda wildcards, input: " ".join(
            f"--{kind} {shlex.quote(str(input[kind]))}" for kind in ("flat", "dark") if input[kind]
        ),
    shell:
        "{params.dlir} illumination --tiles {input.tiles} {params.given} --output {output.light} --settings {params.settings:q}"
        " --key {params.key} --log-file {log} --dataset {wildcards.dataset}"
