# tiles.csv, illumination.tif -> pairs.csv -> model.pt -> affines.csv; selfcheck.csv measures it on known pairs.

NETWORK, PINNED = SETTINGS.register_.method == "network", SETTINGS.train.model
MODEL = [] if not NETWORK else local(str(PINNED)) if PINNED else f"{LEARNT}/model.pt"
if NETWORK and PINNED and not PINNED.is_file():
    sys.exit(f"error: train.model is {PINNED}, and there is no such file: correct it, or leave it null to train")
GENERIC = SETTINGS.train.start == "generic" and SETTINGS.train.architecture == "correlation"
START = [placed(PACKAGE / "registration" / "model" / "weights.pt")] if GENERIC else []
TRAINING = SETTINGS.train.model_copy(update={"model": None}).model_dump_json()
TOGETHER = f"python3 -P -m torch.distributed.run --standalone --nproc-per-node {SETTINGS.train.processes} {MAIN}"


def taught_by(wildcards):
    """The datasets that a model learns from."""
    return list(DATASETS) if SETTINGS.train.share else [wildcards.dataset]


def lessons(wildcards, table):
    """The tables of that name that a model learns from."""
    tables = [f"results/{name}/{table}" for name in taught_by(wildcards)]
    return learnt_from(tables, "train", f"{LEARNT}/model.key".format(**wildcards), taught("train", TRAINING, START))


rule pairs:
    input:
        tiles="results/{dataset}/tiles.csv",
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
        code=steps.code("pairs"),
        settings=SETTINGS.pairs.model_dump_json(),
    shell:
        "{DLIR} pairs --tiles {input.tiles} --output {output} --settings {params.settings:q}"
        " --log {log} --dataset {wildcards.dataset}"


rule train:
    input:
        raw=lambda wildcards: fetched(taught_by(wildcards)),
        tiles=lambda wildcards: lessons(wildcards, "tiles.csv"),
        illumination=lambda wildcards: lessons(wildcards, "illumination.tif"),
        pairs=lambda wildcards: lessons(wildcards, "pairs.csv"),
        start=START,
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
        code=steps.code("train"),
        settings=TRAINING,
        key=taught("train", TRAINING, START),
        command=TOGETHER if SETTINGS.train.processes > 1 else DLIR,
        dataset="" if SETTINGS.train.share else lambda wildcards: f"--dataset {wildcards.dataset}",
    shell:
        "{params.command} train --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs}"
        " --output {output.model} --settings {params.settings:q} --device {resources.device} --key {params.key} --log {log}"
        " {params.dataset}"


rule register:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        pairs="results/{dataset}/pairs.csv",
        model=MODEL,
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
        code=steps.code("register"),
        settings=SETTINGS.register_.model_dump_json(),
        model=lambda wildcards, input: f"--model {shlex.quote(str(input.model))}" if input.model else "",
        cache="" if BUCKET else "--cache results/{dataset}/cache",
    shell:
        "{DLIR} register --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs} {params.model}"
        " --output {output} --settings {params.settings:q} --device {resources.device} {params.cache}"
        " --log {log} --dataset {wildcards.dataset}"


rule selfcheck:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        pairs="results/{dataset}/pairs.csv",
        model=MODEL,
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
        code=steps.code("selfcheck"),
        method=SETTINGS.register_.method,
        settings=SETTINGS.selfcheck.model_dump_json(),
        model=lambda wildcards, input: f"--model {shlex.quote(str(input.model))}" if input.model else "",
    shell:
        "{DLIR} selfcheck --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs} {params.model}"
        " --method {params.method} --output {output} --settings {params.settings:q} --device {resources.device}"
        " --log {log} --dataset {wildcards.dataset}"
