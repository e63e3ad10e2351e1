# affines.csv -> placement.csv -> TileConfiguration.registered.txt, positions.csv, exposure.csv -> mosaic.ome.zarr.


rule place:
    input:
        tiles="results/{dataset}/tiles.csv",
        affines="results/{dataset}/affines.csv",
        overrides=lambda wildcards: DATASETS[wildcards.dataset].overrides or [],
        code=modules("place"),
    output:
        "results/{dataset}/placement.csv",
    log:
        "results/{dataset}/logs/place.log",
    conda:
        "../../envs/dlir.yaml"
    params:
        settings=SETTINGS.place.model_dump_json(),
        overrides=lambda wildcards, input: f"--overrides {shlex.quote(str(input.overrides))}" if input.overrides else "",
    shell:
        "dlir place --tiles {input.tiles} --affines {input.affines} {params.overrides} --output {output}"
        " --settings {params.settings:q} 2>&1 | tee {log}"


rule export:
    input:
        tiles="results/{dataset}/tiles.csv",
        placement="results/{dataset}/placement.csv",
        code=modules("export"),
    output:
        fiji="results/{dataset}/TileConfiguration.registered.txt",
        positions="results/{dataset}/positions.csv",
    log:
        "results/{dataset}/logs/export.log",
    conda:
        "../../envs/dlir.yaml"
    shell:
        "dlir export --tiles {input.tiles} --placement {input.placement} --output {output.positions}"
        " --fiji {output.fiji} 2>&1 | tee {log}"


rule exposure:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        pairs="results/{dataset}/pairs.csv",
        placement="results/{dataset}/placement.csv",
        code=modules("exposure"),
    output:
        "results/{dataset}/exposure.csv",
    log:
        "results/{dataset}/logs/exposure.log",
    conda:
        "../../envs/dlir.yaml"
    params:
        settings=SETTINGS.exposure.model_dump_json(),
    shell:
        "dlir exposure --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs}"
        " --placement {input.placement} --output {output} --settings {params.settings:q} 2>&1 | tee {log}"


rule mosaic:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        exposure="results/{dataset}/exposure.csv",
        placement="results/{dataset}/placement.csv",
        code=modules("mosaic"),
    output:
        directory("results/{dataset}/mosaic.ome.zarr"),
    log:
        "results/{dataset}/logs/mosaic.log",
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    params:
        settings=SETTINGS.mosaic.model_dump_json(),
    shell:
        "dlir mosaic --tiles {input.tiles} --illumination {input.illumination} --exposure {input.exposure}"
        " --placement {input.placement} --output {output} --settings {params.settings:q} --threads {threads} 2>&1 | tee {log}"
