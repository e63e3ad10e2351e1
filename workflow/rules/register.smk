# Images -> tiles.csv -> illumination.tif, pairs.csv -> model.pt -> affines.csv.

GENERIC = SETTINGS.train.start == "generic" and SETTINGS.train.architecture == "correlation"
START = [placed(ROOT / "dlir" / "weights.pt")] if GENERIC else []
TRAINING = SETTINGS.train.model_copy(update={"model": None}).model_dump_json()
TORCHRUN = f"torch.distributed.run --standalone --nproc-per-node {SETTINGS.train.processes} -m"

if DEMO:

    rule demo:
        input:
            modules("demo"),
        output:
            TILES["demo"],
            truth=settings.DEMO_TRUTH,
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
            folder=lambda wildcards, output: Path(output.truth).parent,
            settings=SETTINGS.demo.model_dump_json(),
        shell:
            "dlir demo --output {params.folder} --settings {params.settings:q} 2>&1 | tee {log}"


rule tiles:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        positions=lambda wildcards: DATASETS[wildcards.dataset].positions or [],
        code=modules("tiles"),
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
        settings=lambda wildcards: kept_files(DATASETS[wildcards.dataset]).model_dump_json(
            exclude={"truth", "flat", "dark"}
        ),
    shell:
        "dlir tiles --output {output} --settings {params.settings:q} 2>&1 | tee {log}"


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
        code=modules("illumination"),
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
        settings=SETTINGS.illumination.model_dump_json(),
        key=lit,
        given=lambda wildcards, input: " ".join(
            f"--{kind} {shlex.quote(str(input[kind]))}" for kind in ("flat", "dark") if input[kind]
        ),
    shell:
        "dlir illumination --tiles {input.tiles} {params.given} --output {output.light} --settings {params.settings:q}"
        " 2>&1 | tee {log}; echo {params.key} > {output.key}"


rule pairs:
    input:
        tiles="results/{dataset}/tiles.csv",
        code=modules("pairs"),
    output:
        "results/{dataset}/pairs.csv",
    log:
        "results/{dataset}/logs/pairs.log",
    benchmark:
        "results/{dataset}/benchmarks/pairs.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(1000, lambda tiles: 0),
        runtime=minutes(10, 0),
    params:
        settings=SETTINGS.pairs.model_dump_json(),
    shell:
        "dlir pairs --tiles {input.tiles} --output {output} --settings {params.settings:q} 2>&1 | tee {log}"


rule train:
    input:
        raw=lambda wildcards: fetched(taught_by(wildcards)),
        tiles=lambda wildcards: lessons(wildcards, "tiles.csv"),
        illumination=lambda wildcards: lessons(wildcards, "illumination.tif"),
        pairs=lambda wildcards: lessons(wildcards, "pairs.csv"),
        start=START,
        code=modules("train"),
    output:
        model=f"{LEARNT}/model.pt",
        history=f"{LEARNT}/model.csv",
        key=f"{LEARNT}/model.key",
    log:
        f"{LEARNT}/logs/train.log",
    benchmark:
        f"{LEARNT}/benchmarks/train.tsv"
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000, lambda tiles: 4 * min(tiles.count, 64 * len(DATASETS))),
        runtime=minutes(240, 0.1),
        device="auto",
    params:
        settings=TRAINING,
        key=taught("train", TRAINING, START),
        launcher=TORCHRUN if SETTINGS.train.processes > 1 else "",
    shell:
        "launcher={params.launcher:q} dlir train --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs}"
        " --output {output.model} --settings {params.settings:q} --device {resources.device} 2>&1 | tee {log};"
        " echo {params.key} > {output.key}"


rule register:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        pairs="results/{dataset}/pairs.csv",
        model=MODEL,
        code=modules("register"),
    output:
        "results/{dataset}/affines.csv",
    log:
        "results/{dataset}/logs/register.log",
    benchmark:
        "results/{dataset}/benchmarks/register.tsv"
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000, lambda tiles: 2 * min(tiles.count, 256)),
        runtime=minutes(30, 0.5),
        device="auto",
    params:
        settings=SETTINGS.register_.model_dump_json(),
        model=lambda wildcards, input: f"--model {shlex.quote(str(input.model))}" if input.model else "",
        cache="" if BUCKET else "--cache results/{dataset}/cache",
    shell:
        "dlir register --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs} {params.model}"
        " --output {output} --settings {params.settings:q} --device {resources.device} {params.cache}"
        " 2>&1 | tee {log}"
