# affines.csv -> placement.csv -> TileConfiguration.registered.txt, positions.csv, exposure.csv -> mosaic.ome.zarr.

BANDS = SETTINGS.mosaic.bands


rule place:
    input:
        tiles="results/{dataset}/tiles.csv",
        affines="results/{dataset}/affines.csv",
        overrides=lambda wildcards: DATASETS[wildcards.dataset].overrides or [],
        code=modules("place"),
    output:
        placement="results/{dataset}/placement.csv",
        stage="results/{dataset}/stage.csv",
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
        "dlir place --tiles {input.tiles} --affines {input.affines} {params.overrides} --output {output.placement}"
        " --stage {output.stage} --settings {params.settings:q} 2>&1 | tee {log}"


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
    benchmark:
        "results/{dataset}/benchmarks/exposure.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=memory(1000, lambda tiles: 70),
        runtime=minutes(10, 0.05),
    params:
        settings=SETTINGS.exposure.model_dump_json(),
    shell:
        "dlir exposure --tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs}"
        " --placement {input.placement} --output {output} --settings {params.settings:q} 2>&1 | tee {log}"


rule band:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        exposure="results/{dataset}/exposure.csv",
        placement="results/{dataset}/placement.csv",
        code=modules("band"),
    output:
        temp(directory("results/{dataset}/bands/{number}")),
    log:
        "results/{dataset}/logs/band-{number}.log",
    benchmark:
        "results/{dataset}/benchmarks/band-{number}.tsv"
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory(1000, blocks),
        runtime=minutes(20, 0.2),
    params:
        settings=SETTINGS.mosaic.model_dump_json(),
        cache="" if BUCKET else "--cache results/{dataset}/cache",
    shell:
        "dlir band --tiles {input.tiles} --illumination {input.illumination} --exposure {input.exposure}"
        " --placement {input.placement} --output {output} --number {wildcards.number} --settings {params.settings:q}"
        " --threads {threads} {params.cache} 2>&1 | tee {log}"


rule mosaic:
    input:
        raw=lambda wildcards: TILES[wildcards.dataset],
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        exposure="results/{dataset}/exposure.csv",
        placement="results/{dataset}/placement.csv",
        bands=[f"results/{{dataset}}/bands/{number}" for number in range(BANDS if BANDS > 1 else 0)],
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
        mem_mb=memory(1000, blocks),
        runtime=minutes(20, 0.2),
    params:
        settings=SETTINGS.mosaic.model_dump_json(),
        bands=lambda wildcards, input: f"--bands {input.bands}" if input.bands else "",
        cache="" if BUCKET else "--cache results/{dataset}/cache",
    shell:
        "dlir mosaic --tiles {input.tiles} --illumination {input.illumination} --exposure {input.exposure}"
        " --placement {input.placement} {params.bands} --output {output} --settings {params.settings:q}"
        " --threads {threads} {params.cache} 2>&1 | tee {log}"


rule ome_tiff:  # only where it is asked for: snakemake --cores N results/NAME/mosaic.ome.tif
    input:
        mosaic="results/{dataset}/mosaic.ome.zarr",
        code=modules("ome_tiff"),
    output:
        "results/{dataset}/mosaic.ome.tif",
    log:
        "results/{dataset}/logs/ome_tiff.log",
    benchmark:
        "results/{dataset}/benchmarks/ome_tiff.tsv"
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory(1000, lambda tiles: 4 * tiles.columns),
        runtime=minutes(20, 0.2),
    shell:
        "dlir ome_tiff --mosaic {input.mosaic} --output {output} --threads {threads} 2>&1 | tee {log}"
