# affines.csv, or the placement of another run -> placement.csv -> positions.csv, TileConfiguration.registered.txt.


rule adopt:
    input:
        files="results/{dataset}/files.csv",
        placed=made_before,
    output:
        tiles="results/{dataset}/tiles.csv",
        placement="results/{dataset}/placement.csv",
    log:
        "results/{dataset}/logs/adopt.log",
    benchmark:
        "results/{dataset}/benchmarks/adopt.tsv"
    wildcard_constraints:
        dataset=only(ADOPTED),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(1000, lambda tiles: 0),
        runtime=minutes(10, 0),
    params:
        dlir=dlir_command,
        code=steps.code("adopt"),
        layout=lambda wildcards: layout_of(DATASETS[wildcards.dataset]),
        given=given_placement,
    shell:
        "{params.dlir} adopt --files {input.files} --output {output.tiles} --placement {output.placement}"
        " --layout {params.layout:q} {params.given} --log-file {log} --dataset {wildcards.dataset}"


rule place:
    input:
        tiles="results/{dataset}/tiles.csv",
        survey="results/{dataset}/survey.csv",
        affines="results/{dataset}/affines.csv",
        overrides=lambda wildcards: in_bucket(DATASETS[wildcards.dataset].overrides),
    output:
        placement="results/{dataset}/placement.csv",
        stage="results/{dataset}/stage.csv",
    log:
        "results/{dataset}/logs/place.log",
    benchmark:
        "results/{dataset}/benchmarks/place.tsv"
    wildcard_constraints:
        dataset=only(REGISTERED),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(2000, lambda tiles: 0),
        runtime=minutes(10, 0.01),
    params:
        dlir=dlir_command,
        code=steps.code("place"),
        settings=SETTINGS.place.model_dump_json(),
        overrides=given_overrides,
        given=lambda wildcards: given(DATASETS[wildcards.dataset].overrides),
    shell:
        "{params.dlir} place --tiles {input.tiles} --survey {input.survey} --affines {input.affines} {params.overrides}"
        " --output {output.placement} --stage {output.stage} --settings {params.settings:q} {params.given}"
        " --log-file {log} --dataset {wildcards.dataset}"


rule export:
    input:
        tiles="results/{dataset}/tiles.csv",
        placement="results/{dataset}/placement.csv",
    output:
        fiji="results/{dataset}/TileConfiguration.registered.txt",
        positions="results/{dataset}/positions.csv",
    log:
        "results/{dataset}/logs/export.log",
    benchmark:
        "results/{dataset}/benchmarks/export.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(1000, lambda tiles: 0),
        runtime=minutes(10, 0),
    params:
        dlir=dlir_command,
        code=steps.code("export"),
    shell:
        "{params.dlir} export --tiles {input.tiles} --placement {input.placement} --output {output.positions}"
        " --fiji {output.fiji} --log-file {log} --dataset {wildcards.dataset}"
