# tiles.csv -> illumination.tif.


rule illumination:
    input:
        raw=lambda wildcards: fetched([wildcards.dataset]),
        tiles="results/{dataset}/tiles.csv",
        given=lambda wildcards: in_bucket(DATASETS[wildcards.dataset].flat, DATASETS[wildcards.dataset].dark),
    output:
        "results/{dataset}/illumination.tif",
    log:
        "results/{dataset}/logs/illumination.log",
    benchmark:
        "results/{dataset}/benchmarks/illumination.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("illumination"),
        runtime=minutes("illumination"),
    params:
        dlir=dlir_command,
        code=steps.code("illumination"),
        settings=SETTINGS.illumination.model_dump_json(),
        key=taught("illumination", SETTINGS.illumination.model_dump_json()),
        fields=given_fields,
        given=lambda wildcards: given(DATASETS[wildcards.dataset].flat, DATASETS[wildcards.dataset].dark),
        cache="" if BUCKET else "--cache results/{dataset}/cache",
        again=again,
    message:
        "{wildcards.dataset}: estimates flat-field and dark-field"
    shell:
        "{params.dlir} illumination --tiles {input.tiles} {params.fields} {params.given} --output {output} --settings {params.settings:q}"
        " --key {params.key} {params.cache} {params.again} --log-file {log} --dataset {wildcards.dataset}"
