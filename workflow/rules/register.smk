# Images -> tiles.csv -> illumination.tif, pairs.csv -> model.pt -> affines.csv.

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
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        flat=lambda wildcards: DATASETS[wildcards.dataset].flat or [],
        dark=lambda wildcards: DATASETS[wildcards.dataset].dark or [],
        code=modules("illumination"),
    output:
        "results/{dataset}/illumination.tif",
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
        given=lambda wildcards, input: " ".join(
            f"--{kind} {shlex.quote(str(input[kind]))}" for kind in ("flat", "dark") if input[kind]
        ),
    shell:
        "dlir illumination --tiles {input.tiles} {params.given} --output {output} --settings {params.settings:q}"
        " 2>&1 | tee {log}"


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
        raw=lambda wildcards: [path for name in taught_by(wildcards) for path in TILES[name]],
        tiles=lambda wildcards: expand("results/{dataset}/tiles.csv", dataset=taught_by(wildcards)),
        illumination=lambda wildcards: expand("results/{dataset}/illumination.tif", dataset=taught_by(wildcards)),
        pairs=lambda wildcards: expand("results/{dataset}/pairs.csv", dataset=taught_by(wildcards)),
        start=(
            placed(ROOT / "dlir" / "weights.pt")
            if SETTINGS.train.start == "generic" and SETTINGS.train.architecture == "correlation"
            else []
        ),
        code=modules("train"),
    output:
        model=f"{LEARNT}/model.pt",
        history=f"{LEARNT}/model.csv",
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
        settings=SETTINGS.train.model_dump_json(),
        launcher=TORCHRUN if SETTINGS.train.processes > 1 else "",
    shell:
        "launcher={params.launcher:q} dlir train --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs}"
        " --output {output.model} --settings {params.settings:q} --device {resources.device} 2>&1 | tee {log}"


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
        model=lambda wildcards, input: f"--model {input.model}" if input.model else "",
    shell:
        "dlir register --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs} {params.model}"
        " --output {output} --settings {params.settings:q} --device {resources.device} 2>&1 | tee {log}"
