# affines.csv -> placement.csv -> TileConfiguration.registered.txt, positions.csv, mosaic.ome.zarr.


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
    benchmark:
        "results/{dataset}/benchmarks/place.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(2000, lambda tiles: 0),
        runtime=minutes(10, 0.01),
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
    benchmark:
        "results/{dataset}/benchmarks/export.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(1000, lambda tiles: 0),
        runtime=minutes(10, 0),
    shell:
        "dlir export --tiles {input.tiles} --placement {input.placement} --output {output.positions}"
        " --fiji {output.fiji} 2>&1 | tee {log}"


rule mosaic:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        placement="results/{dataset}/placement.csv",
        code=modules("mosaic"),
    output:
        directory("results/{dataset}/mosaic.ome.zarr"),
    log:
        "results/{dataset}/logs/mosaic.log",
    benchmark:
        "results/{dataset}/benchmarks/mosaic.tsv"
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory(1000, lambda tiles: 32 + 6 * tiles.columns * (SETTINGS.mosaic.shard / tiles.height + 1)),
        runtime=minutes(20, 0.2),
    params:
        settings=SETTINGS.mosaic.model_dump_json(),
    shell:
        "dlir mosaic --tiles {input.tiles} --illumination {input.illumination} --placement {input.placement}"
        " --output {output} --settings {params.settings:q} --threads {threads} 2>&1 | tee {log}"
