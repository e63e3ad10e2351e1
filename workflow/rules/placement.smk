# affines.csv, or the placement of another run and its lens.csv -> placement.csv (of rounds in rounds.smk), and from that positions.csv, TileConfiguration.registered.txt
# and exposure.csv: the steps `export` and `exposure` take less time than a process needs to start.

LEVELS = "results/{dataset}/exposure.csv"
FIJI, POSITIONS = "results/{dataset}/TileConfiguration.registered.txt", "results/{dataset}/positions.csv"
EXPORTED = [steps.code("export"), steps.code("exposure"), SETTINGS.exposure.model_dump_json()]


rule adopt:
    input:
        files="results/{dataset}/files.csv",
        placed=made_before,
        known=lambda wildcards: in_bucket(DATASETS[wildcards.dataset].known_lens),
    output:
        tiles="results/{dataset}/tiles.csv",
        placement="results/{dataset}/placement.csv",
        lens="results/{dataset}/lens.csv",
    log:
        "results/{dataset}/logs/adopt.log",
    benchmark:
        "results/{dataset}/benchmarks/adopt.tsv"
    wildcard_constraints:
        dataset=only(ADOPTED),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("adopt"),
        runtime=minutes("adopt"),
    params:
        dlir=dlir_command,
        code=steps.code("adopt"),
        layout=lambda wildcards: layout_of(DATASETS[wildcards.dataset]),
        distortion=distortion_of,
        given=lambda wildcards: f"{given_placement(wildcards)} {given(DATASETS[wildcards.dataset].known_lens)}",
    message:
        "{wildcards.dataset}: takes the placement of another run"
    shell:
        "{params.dlir} adopt --files {input.files} --output {output.tiles} --placement {output.placement}"
        " --lens {output.lens} {params.distortion} --layout {params.layout:q} {params.given} --log-file {log} --dataset {wildcards.dataset}"


rule place:
    input:
        tiles="results/{dataset}/tiles.csv",
        survey="results/{dataset}/survey.csv",
        affines="results/{dataset}/affines.csv",
        pairs="results/{dataset}/pairs.csv",
        raw=lambda wildcards: fetched([wildcards.dataset]),
        illumination="results/{dataset}/illumination.tif",
        lens="results/{dataset}/lens.csv",
        overrides=lambda wildcards: in_bucket(DATASETS[wildcards.dataset].overrides),
    output:
        placement="results/{dataset}/placement.csv",
        stage="results/{dataset}/stage.csv",
        fiji=FIJI,
        positions=POSITIONS,
        exposure=LEVELS,
    log:
        "results/{dataset}/logs/place.log",
    benchmark:
        "results/{dataset}/benchmarks/place.tsv"
    wildcard_constraints:
        dataset=only([name for name in REGISTERED if name not in ROUNDS]),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("place"),
        runtime=minutes("place"),
    params:
        dlir=dlir_command,
        code=[steps.code("place"), *EXPORTED],
        settings=SETTINGS.place.model_dump_json(),
        overrides=given_overrides,
        given=lambda wildcards: given(DATASETS[wildcards.dataset].overrides),
        exposure=SETTINGS.exposure.model_dump_json(),
    message:
        "{wildcards.dataset}: places the tiles"
    shell:
        "{params.dlir} place --tiles {input.tiles} --survey {input.survey} --affines {input.affines} --lens {input.lens}"
        " {params.overrides} --output {output.placement} --stage {output.stage} --settings {params.settings:q} {params.given}"
        " --log-file {log} --dataset {wildcards.dataset}"
        " --then export --tiles {input.tiles} --lens {input.lens} --placement {output.placement}"
        " --output {output.positions} --fiji {output.fiji}"
        " --then exposure --tiles {input.tiles} --illumination {input.illumination} --lens {input.lens} --pairs {input.pairs}"
        " --placement {output.placement} --output {output.exposure} --settings {params.exposure:q}"


rule exposure:  # of a placement that was taken over; for others the step runs behind `place`
    input:
        raw=lambda wildcards: fetched([wildcards.dataset]),
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        lens="results/{dataset}/lens.csv",
        placement="results/{dataset}/placement.csv",
    output:
        fiji=FIJI,
        positions=POSITIONS,
        exposure=LEVELS,
    log:
        "results/{dataset}/logs/exposure.log",
    benchmark:
        "results/{dataset}/benchmarks/exposure.tsv"
    wildcard_constraints:
        dataset=only(ADOPTED),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("exposure"),
        runtime=minutes("exposure"),
    params:
        dlir=dlir_command,
        code=EXPORTED,
        exposure=SETTINGS.exposure.model_dump_json(),
    message:
        "{wildcards.dataset}: finds how bright each tile is"
    shell:
        "{params.dlir} export --tiles {input.tiles} --lens {input.lens} --placement {input.placement}"
        " --output {output.positions} --fiji {output.fiji} --log-file {log} --dataset {wildcards.dataset}"
        " --then exposure --tiles {input.tiles} --illumination {input.illumination} --lens {input.lens}"
        " --placement {input.placement}"
        " --output {output.exposure} --settings {params.exposure:q}"
