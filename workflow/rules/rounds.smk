# Of a specimen: affines.csv of all rounds -> rounds.csv, between.csv -> placement.csv of all -> that of each round, which goes on
# as any dataset does; mosaic.ome.zarr of all rounds -> one of them all, and the page that compares the rounds.

PLACED_FROM = ["tiles.csv", "survey.csv", "affines.csv"]  # what places the tiles of a round
ROUND_MODEL = (
    [f"results/{{dataset}}/round_model.{ending}" for ending in ("pt", "csv")] if TRAINED else []
)  # for pairs between rounds
JOINED = SETTINGS.rounds.model_copy(
    update={"names": SETTINGS.rounds.names and Path(working_copy(str(SETTINGS.rounds.names)))}
)


rule rounds:
    input:
        raw=raw_of_rounds,
        tables=lambda wildcards: rounds_of(wildcards, *PLACED_FROM, "illumination.tif", "lens.csv"),
        model=model,
    output:
        rounds="results/{dataset}/rounds.csv",
        between="results/{dataset}/between.csv",
        model=ROUND_MODEL,
    log:
        "results/{dataset}/logs/rounds.log",
    benchmark:
        "results/{dataset}/benchmarks/rounds.tsv"
    wildcard_constraints:
        dataset=only(SPECIMENS),
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory("rounds"),
        runtime=minutes("rounds"),
        device="auto",
    params:
        dlir=dlir_command,
        code=[*map(steps.code, ["rounds", "between", *["train_rounds"] * TRAINED]), METHOD_CODE],
        rounds=folders_of_rounds,
        place=SETTINGS.place.model_dump_json(),
        settings=SETTINGS.register_.model_dump_json(),
        train=train_rounds_ahead,
        model=lambda wildcards, output: f"--model {output.model[0]}" if TRAINED else model_option(wildcards),
        given=MODEL_GIVEN,
        cache="" if BUCKET else "--cache results/{dataset}/cache",
    message:
        "{wildcards.dataset}: finds how the rounds lie, and registers their tiles to each other"
    shell:
        "{params.dlir} rounds --results {params.rounds:q} --output {output.rounds} --settings {params.place:q} {params.given}"
        " --log-file {log} --dataset {wildcards.dataset} {params.train}"
        " --then between --results {params.rounds:q} --rounds {output.rounds} --output {output.between} {params.model}"
        " --settings {params.settings:q} --place {params.place:q} --device {resources.device} {params.cache}"


rule place_rounds:
    input:
        tables=lambda wildcards: rounds_of(wildcards, *PLACED_FROM),
        rounds="results/{dataset}/rounds.csv",
        between="results/{dataset}/between.csv",
        overrides=lambda wildcards: in_bucket(*overrides_of_rounds(wildcards)),
    output:
        placement="results/{dataset}/placement.csv",
        stage="results/{dataset}/stage.csv",
        canvas="results/{dataset}/canvas.csv",
    log:
        "results/{dataset}/logs/place_rounds.log",
    benchmark:
        "results/{dataset}/benchmarks/place_rounds.tsv"
    wildcard_constraints:
        dataset=only(SPECIMENS),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("place_rounds"),
        runtime=minutes("place_rounds"),
    params:
        dlir=dlir_command,
        code=steps.code("place_rounds"),
        rounds=folders_of_rounds,
        settings=SETTINGS.place.model_dump_json(),
        overrides=given_overrides_of_rounds,
        given=lambda wildcards: given(*overrides_of_rounds(wildcards)),
    message:
        "{wildcards.dataset}: places the tiles of all rounds"
    shell:
        "{params.dlir} place_rounds --results {params.rounds:q} --rounds {input.rounds} --between {input.between}"
        " --output {output.placement} --stage {output.stage} --canvas {output.canvas} --settings {params.settings:q}"
        " {params.overrides} {params.given} --log-file {log} --dataset {wildcards.dataset}"


rule local:  # only where rounds.local is above 0
    input:
        raw=lambda wildcards: fetched(SPECIMENS[wildcards.dataset]),
        tables=lambda wildcards: rounds_of(wildcards, *PLACED_FROM, "illumination.tif", "lens.csv"),
        placement="results/{dataset}/placement.csv",
        canvas="results/{dataset}/canvas.csv",
    output:
        local="results/{dataset}/local.csv",
        mended="results/{dataset}/local_rounds.csv",
    log:
        "results/{dataset}/logs/local.log",
    benchmark:
        "results/{dataset}/benchmarks/local.tsv"
    wildcard_constraints:
        dataset=only(SPECIMENS),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("local"),
        runtime=minutes("local"),
    params:
        dlir=dlir_command,
        code=steps.code("local"),
        rounds=folders_of_rounds,
        settings=JOINED.model_dump_json(include={"local"}),
    message:
        "{wildcards.dataset}: finds where tissue was stretched between rounds"
    shell:
        "{params.dlir} local --results {params.rounds:q} --placement {input.placement} --canvas {input.canvas}"
        " --output {output.local} --mended {output.mended} --settings {params.settings:q} --log-file {log}"
        " --dataset {wildcards.dataset}"


rule round_place:
    input:
        placement=lambda wildcards: f"results/{ROUNDS[wildcards.dataset]}/placement.csv",
        stages=lambda wildcards: f"results/{ROUNDS[wildcards.dataset]}/stage.csv",
        local=lambda wildcards: [f"results/{ROUNDS[wildcards.dataset]}/local.csv"] if SETTINGS.rounds.local else [],
        tiles="results/{dataset}/tiles.csv",
        pairs="results/{dataset}/pairs.csv",
        raw=lambda wildcards: fetched([wildcards.dataset]),
        illumination="results/{dataset}/illumination.tif",
        lens="results/{dataset}/lens.csv",
    output:
        placement="results/{dataset}/placement.csv",
        stage="results/{dataset}/stage.csv",
        field="results/{dataset}/local.csv",
        fiji=FIJI,
        positions=POSITIONS,
        exposure=LEVELS,
    log:
        "results/{dataset}/logs/round_place.log",
    benchmark:
        "results/{dataset}/benchmarks/round_place.tsv"
    wildcard_constraints:
        dataset=only(ROUNDS),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("exposure"),
        runtime=minutes("exposure"),
    params:
        dlir=dlir_command,
        code=[steps.code("round_place"), *EXPORTED],
        round=lambda wildcards: MEMBERS[wildcards.dataset].round,
        exposure=SETTINGS.exposure.model_dump_json(),
        local=lambda wildcards, input: f"--local {input.local}" if input.local else "",
    message:
        "{wildcards.dataset}: takes its part of the placement of all rounds"
    shell:
        "{params.dlir} round_place --placement {input.placement} --stages {input.stages} --round {params.round}"
        " --output {output.placement} --stage {output.stage} --field {output.field} {params.local} --log-file {log} --dataset {wildcards.dataset}"
        " --then export --tiles {input.tiles} --lens {input.lens} --placement {output.placement}"
        " --output {output.positions} --fiji {output.fiji}"
        " --then exposure --tiles {input.tiles} --illumination {input.illumination} --lens {input.lens} --pairs {input.pairs}"
        " --placement {output.placement} --output {output.exposure} --settings {params.exposure:q}"


rule join_rounds:
    input:
        mosaics=mosaics_of_rounds,
        sums=lambda wildcards: rounds_of(wildcards, "mosaic.sha256"),
        tiles=lambda wildcards: rounds_of(wildcards, "tiles.csv"),
        names=in_bucket(SETTINGS.rounds.names),
    output:
        store=mosaic_folder("results/{dataset}/mosaic.ome.zarr"),
        sums="results/{dataset}/mosaic.sha256",
    log:
        "results/{dataset}/logs/join_rounds.log",
    benchmark:
        "results/{dataset}/benchmarks/join_rounds.tsv"
    wildcard_constraints:
        dataset=only(SPECIMENS),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        dlir=dlir_command,
        code=steps.code("join_rounds"),
        rounds=folders_of_rounds,
        settings=JOINED.model_dump_json(),
        given=given(SETTINGS.rounds.names),
        cache="" if BUCKET else "--cache results/{dataset}/cache",
    message:
        "{wildcards.dataset}: joins the mosaics of all rounds"
    shell:
        "{params.dlir} join_rounds --results {params.rounds:q} --output {output.store} --sums {output.sums}"
        " --settings {params.settings:q} {params.given} {params.cache} --log-file {log} --dataset {wildcards.dataset}"


rule report_rounds:
    input:
        model=ROUND_MODEL[:1],
        training=ROUND_MODEL[1:],
        mended=["results/{dataset}/local_rounds.csv"] if SETTINGS.rounds.local else [],
        tables=lambda wildcards: rounds_of(
            wildcards,
            *PLACED_FROM,
            "placement.csv",
            "stage.csv",
            "lens.csv",
            "local.csv",
            "exposure.csv",
            "illumination.tif",
        ),
        reports=lambda wildcards: rounds_of(wildcards, "verdict.json", "report.html", "provenance.json"),
        mosaics=lambda wildcards: rounds_of(wildcards, "mosaic.ome.zarr"),
        raw=lambda wildcards: fetched(SPECIMENS[wildcards.dataset]),
        rounds="results/{dataset}/rounds.csv",
        between="results/{dataset}/between.csv",
        placement="results/{dataset}/placement.csv",
        mosaic="results/{dataset}/mosaic.ome.zarr",
        sums="results/{dataset}/mosaic.sha256",
        tiles=lambda wildcards: rounds_of(wildcards, "tiles.csv"),
        benchmarks=[
            f"results/{{dataset}}/benchmarks/{step}.tsv"
            for step in ("rounds", "place_rounds", *(["local"] if SETTINGS.rounds.local else []), "join_rounds")
        ],
    output:
        provenance="results/{dataset}/provenance.json",
        verdict="results/{dataset}/verdict.json",
        page=report(
            "results/{dataset}/report.html",
            caption="../report/report.rst",
            category="{dataset}",
            labels={"page": "report of all rounds"},
        ),
        files=directory("results/{dataset}/report_files"),
    log:
        "results/{dataset}/logs/report_rounds.log",
    benchmark:
        "results/{dataset}/benchmarks/report_rounds.tsv"
    wildcard_constraints:
        dataset=only(SPECIMENS),
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory("report_rounds"),
        runtime=minutes("report_rounds"),
    params:
        dlir=dlir_command,
        code=[steps.code(step) for step in steps.STEPS],
        rounds=folders_of_rounds,
        settings=JOINED.model_dump_json(),
        place=SETTINGS.place.model_dump_json(),
        report=SETTINGS.report.model_dump_json(),
        training=lambda wildcards, input: f"--training {input.training}" if input.training else "",
        mended=lambda wildcards, input: f"--mended {input.mended}" if input.mended else "",
        all=lambda wildcards: settings_with(SPECIMENS[wildcards.dataset]),
        configs=own_configs,
    message:
        "{wildcards.dataset}: writes the report on how the rounds agree"
    shell:
        "{params.dlir} provenance --tiles {input.tiles} --results {input.rounds} {input.between} {input.placement} {input.sums}"
        " {input.model} {input.mended} --benchmarks {input.benchmarks} --rounds {params.rounds:q} --output {output.provenance}"
        " --settings {params.all:q} {params.configs}"
        " --then report_rounds --results {params.rounds:q} --rounds {input.rounds} --between {input.between}"
        " --placement {input.placement} --mosaic {input.mosaic} --output {output.page} --verdict {output.verdict}"
        " {params.training} {params.mended}"
        " --settings {params.settings:q} --place {params.place:q} --report {params.report:q} --log-file {log} --dataset {wildcards.dataset}"
