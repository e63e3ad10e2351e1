# tiles.csv, illumination.tif -> pairs.csv -> model.pt -> affines.csv, lens.csv; selfcheck.csv and known_pairs.csv measure it on known pairs.


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
        mem_mb=memory("pairs"),
        runtime=minutes("pairs"),
    params:
        dlir=dlir_command,
        code=steps.code("pairs"),
        settings=SETTINGS.pairs.model_dump_json(),
    message:
        "{wildcards.dataset}: lists the pairs of neighbours"
    shell:
        "{params.dlir} pairs --tiles {input.tiles} --output {output} --settings {params.settings:q}"
        " --log-file {log} --dataset {wildcards.dataset}"


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
    wildcard_constraints:
        dataset=only(WHOLE),
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory("train"),
        runtime=minutes("train"),
        device="auto",
    params:
        dlir=dlir_together if SETTINGS.train.processes > 1 else dlir_command,
        code=steps.code("train"),
        settings=TRAINING,
        key=taught("train", TRAINING, START),
        dataset="" if SETTINGS.train.share else lambda wildcards: f"--dataset {wildcards.dataset}",
    message:
        f"{LEARNERS}: trains the network, where that helps"
    shell:
        "{params.dlir} train --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs}"
        " --output {output.model} --settings {params.settings:q} --device {resources.device} --key {params.key} --log-file {log}"
        " {params.dataset}"


rule register:
    input:
        raw=lambda wildcards: fetched([wildcards.dataset]),
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        pairs="results/{dataset}/pairs.csv",
        model=model,
        known=lambda wildcards: in_bucket(DATASETS[wildcards.dataset].known_lens),
    output:
        affines="results/{dataset}/affines.csv",
        lens="results/{dataset}/lens.csv",
    log:
        "results/{dataset}/logs/register.log",
    benchmark:
        "results/{dataset}/benchmarks/register.tsv"
    wildcard_constraints:
        dataset=only(REGISTERED),
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory("register"),
        runtime=minutes("register"),
        device="auto",
    params:
        dlir=dlir_command,
        code=[steps.code("register"), METHOD_CODE],
        settings=SETTINGS.register_.model_dump_json(),
        model=model_option,
        given=lambda wildcards: f"{MODEL_GIVEN} {given(DATASETS[wildcards.dataset].known_lens)}",
        distortion=distortion_of,
        cache="" if BUCKET else "--cache results/{dataset}/cache",
        then=selfcheck_ahead,
    message:
        "{wildcards.dataset}: registers the pairs"
    shell:
        "{params.dlir} register --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs} {params.model} {params.given}"
        " --output {output.affines} --lens {output.lens} {params.distortion} --settings {params.settings:q}"
        " --device {resources.device} {params.cache} --log-file {log} --dataset {wildcards.dataset} {params.then}"


rule selfcheck:
    input:
        raw=lambda wildcards: fetched([wildcards.dataset]),
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        pairs="results/{dataset}/pairs.csv",
        model=model,
        after="results/{dataset}/affines.csv",  # the step `register` leaves the table in the cache
    output:
        errors="results/{dataset}/selfcheck.csv",
        known_pairs="results/{dataset}/known_pairs.csv",
    log:
        "results/{dataset}/logs/selfcheck.log",
    benchmark:
        "results/{dataset}/benchmarks/selfcheck.tsv"
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory("selfcheck"),
        runtime=minutes("selfcheck"),
        device="auto",
    params:
        dlir=dlir_command,
        code=[steps.code("selfcheck"), METHOD_CODE],
        method=SETTINGS.register_.method,
        settings=SETTINGS.selfcheck.model_dump_json(),
        model=model_option,
        given=MODEL_GIVEN,
        cache="" if BUCKET else "--cache results/{dataset}/cache",
    message:
        "{wildcards.dataset}: measures the registration on known pairs"
    shell:
        "{params.dlir} selfcheck --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs} {params.model} {params.given}"
        " --method {params.method} --output {output.errors} --known-pairs {output.known_pairs} --settings {params.settings:q} --device {resources.device} {params.cache}"
        " --log-file {log} --dataset {wildcards.dataset}"
