# Images -> tiles.csv -> illumination.tif, pairs.csv -> model.pt -> affines.csv.

if DEMO:

    rule demo:
        input:
            modules("demo"),
        output:
            TILES["demo"],
            settings.DEMO_TRUTH,
        log:
            "results/demo/logs/demo.log",
        conda:
            "../../envs/dlir.yaml"
        params:
            settings=SETTINGS.demo.model_dump_json(),
        shell:
            "dlir demo --output results/demo --settings {params.settings:q} 2>&1 | tee {log}"


rule tiles:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        positions=lambda wildcards: DATASETS[wildcards.dataset].positions or [],
        code=modules("tiles"),
    output:
        "results/{dataset}/tiles.csv",
    log:
        "results/{dataset}/logs/tiles.log",
    conda:
        "../../envs/dlir.yaml"
    params:
        settings=lambda wildcards: DATASETS[wildcards.dataset].model_dump_json(exclude={"truth", "flat", "dark"}),
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
    conda:
        "../../envs/dlir.yaml"
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
    conda:
        "../../envs/dlir.yaml"
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
        start=GENERIC if SETTINGS.train.start == "generic" and SETTINGS.train.architecture == "correlation" else [],
        code=modules("train"),
    output:
        model=f"{LEARNT}/model.pt",
        history=f"{LEARNT}/model.csv",
    log:
        f"{LEARNT}/logs/train.log",
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        device="auto",
    params:
        settings=SETTINGS.train.model_dump_json(),
    shell:
        "dlir train --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs}"
        " --output {output.model} --settings {params.settings:q} --device {resources.device} 2>&1 | tee {log}"


rule register:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        pairs="results/{dataset}/pairs.csv",
        model=f"{LEARNT}/model.pt" if SETTINGS.register_.method == "network" else [],
        code=modules("register"),
    output:
        "results/{dataset}/affines.csv",
    log:
        "results/{dataset}/logs/register.log",
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        device="auto",
    params:
        settings=SETTINGS.register_.model_dump_json(),
        model=lambda wildcards, input: f"--model {input.model}" if input.model else "",
    shell:
        "dlir register --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs} {params.model}"
        " --output {output} --settings {params.settings:q} --device {resources.device} 2>&1 | tee {log}"
