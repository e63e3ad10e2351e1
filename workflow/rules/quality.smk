# How good it is: selfcheck.csv, accuracy.csv, where the truth is known, and report.html.


rule selfcheck:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        pairs="results/{dataset}/pairs.csv",
        model=f"{LEARNT}/model.pt" if SETTINGS.register_.method == "network" else [],
        code=modules("selfcheck"),
    output:
        "results/{dataset}/selfcheck.csv",
    log:
        "results/{dataset}/logs/selfcheck.log",
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        device="auto",
    params:
        settings=SETTINGS.selfcheck.model_dump_json(),
        model=lambda wildcards, input: f"--model {input.model}" if input.model else "",
    shell:
        "dlir selfcheck --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs} {params.model}"
        " --output {output} --settings {params.settings:q} --device {resources.device} 2>&1 | tee {log}"


rule accuracy:
    input:
        tiles="results/{dataset}/tiles.csv",
        placement="results/{dataset}/placement.csv",
        truth=lambda wildcards: DATASETS[wildcards.dataset].truth,
        code=modules("accuracy"),
    output:
        "results/{dataset}/accuracy.csv",
    log:
        "results/{dataset}/logs/accuracy.log",
    conda:
        "../../envs/dlir.yaml"
    shell:
        "dlir accuracy --tiles {input.tiles} --placement {input.placement} --truth {input.truth:q} --output {output}"
        " 2>&1 | tee {log}"


rule report:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        affines="results/{dataset}/affines.csv",
        placement="results/{dataset}/placement.csv",
        exposure="results/{dataset}/exposure.csv",
        mosaic="results/{dataset}/mosaic.ome.zarr",
        selfcheck="results/{dataset}/selfcheck.csv",
        accuracy=lambda wildcards: "results/{dataset}/accuracy.csv" if DATASETS[wildcards.dataset].truth else [],
        code=modules("report"),
    output:
        report("results/{dataset}/report.html", caption="../report/report.rst", category="{dataset}"),
    log:
        "results/{dataset}/logs/report.log",
    conda:
        "../../envs/dlir.yaml"
    params:
        settings=SETTINGS.report.model_dump_json(),
        accuracy=lambda wildcards, input: f"--accuracy {input.accuracy}" if input.accuracy else "",
    shell:
        "dlir report --tiles {input.tiles} --illumination {input.illumination} --affines {input.affines}"
        " --placement {input.placement} --exposure {input.exposure} --mosaic {input.mosaic} --selfcheck {input.selfcheck}"
        " {params.accuracy} --output {output} --settings {params.settings:q} 2>&1 | tee {log}"
