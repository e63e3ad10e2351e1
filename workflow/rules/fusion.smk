# placement.csv, exposure.csv -> mosaic.ome.zarr -> mosaic.ome.tif, where it is asked for.

BANDS = SETTINGS.mosaic.bands


rule band:
    input:
        raw=lambda wildcards: fetched([wildcards.dataset]),
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        lens="results/{dataset}/lens.csv",
        exposure="results/{dataset}/exposure.csv",
        placement="results/{dataset}/placement.csv",
        canvas=canvas_of,
        local=field_of,
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
        mem_mb=memory("band"),
        runtime=minutes("band"),
    params:
        dlir=dlir_command,
        code=steps.code("band"),
        settings=SETTINGS.mosaic.model_dump_json(),
        canvas=lambda wildcards, input: f"--canvas {input.canvas} --local {input.local}" if input.canvas else "",
        last="results/{dataset}/mosaic.ome.zarr",
        cache="" if BUCKET else "--cache results/{dataset}/cache",
    message:
        "{wildcards.dataset}: fuses band {wildcards.number} of the mosaic"
    shell:
        "{params.dlir} band --tiles {input.tiles} --illumination {input.illumination} --lens {input.lens} --exposure {input.exposure}"
        " --placement {input.placement} {params.canvas} --output {output} --number {wildcards.number} --settings {params.settings:q}"
        " --threads {threads} --last {params.last} {params.cache} --log-file {log} --dataset {wildcards.dataset}"


rule mosaic:
    input:
        raw=raw_of_mosaic,
        tiles="results/{dataset}/tiles.csv",
        illumination="results/{dataset}/illumination.tif",
        lens="results/{dataset}/lens.csv",
        exposure="results/{dataset}/exposure.csv",
        placement="results/{dataset}/placement.csv",
        canvas=canvas_of,
        local=field_of,
        bands=[f"results/{{dataset}}/bands/{number}" for number in range(BANDS if BANDS > 1 else 0)],
    output:
        store=mosaic_folder("results/{dataset}/mosaic.ome.zarr"),
        sums="results/{dataset}/mosaic.sha256",
    log:
        "results/{dataset}/logs/mosaic.log",
    benchmark:
        "results/{dataset}/benchmarks/mosaic.tsv"
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory("mosaic"),
        runtime=minutes("mosaic"),
    params:
        dlir=dlir_command,
        code=steps.code("mosaic"),
        settings=SETTINGS.mosaic.model_dump_json(),
        canvas=lambda wildcards, input: f"--canvas {input.canvas} --local {input.local}" if input.canvas else "",
        bands=lambda wildcards, input: f"--bands {input.bands}" if input.bands else "",
        cache="" if BUCKET else "--cache results/{dataset}/cache",
    message:
        "{wildcards.dataset}: fuses the tiles into the mosaic"
    shell:
        "{params.dlir} mosaic --tiles {input.tiles} --illumination {input.illumination} --lens {input.lens} --exposure {input.exposure}"
        " --placement {input.placement} {params.canvas} {params.bands} --output {output.store} --sums {output.sums} --settings {params.settings:q}"
        " --threads {threads} {params.cache} --log-file {log} --dataset {wildcards.dataset}"


rule plate:
    input:
        sums=lambda wildcards: [f"results/{name}/mosaic.sha256" for name in members(wildcards.group)],
        mosaics=lambda wildcards: [f"results/{name}/mosaic.ome.zarr" for name in members(wildcards.group)],
    output:
        directory("results/{group}/plate.ome.zarr"),
    log:
        "results/{group}/logs/plate.log",
    benchmark:
        "results/{group}/benchmarks/plate.tsv"
    conda:
        "../../envs/dlir.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        dlir=dlir_command,
        code=steps.code("plate"),
        wells=wells_of,
    message:
        "{wildcards.group}: writes the mosaics of the wells as one plate"
    shell:
        "{params.dlir} plate --mosaics {input.mosaics:q} --output {output} {params.wells} --log-file {log} --dataset {wildcards.group}"


rule ome_tiff:  # only where it is asked for: snakemake --cores N results/NAME/mosaic.ome.tif
    input:
        mosaic="results/{dataset}/mosaic.ome.zarr",
        sums="results/{dataset}/mosaic.sha256",
    output:
        "results/{dataset}/mosaic.ome.tif",
    log:
        "results/{dataset}/logs/ome_tiff.log",
    benchmark:
        "results/{dataset}/benchmarks/ome_tiff.tsv"
    wildcard_constraints:
        dataset=only([*DATASETS, *SPECIMENS]),
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    resources:
        mem_mb=memory("ome_tiff"),
        runtime=minutes("ome_tiff"),
    params:
        dlir=dlir_command,
        code=steps.code("ome_tiff"),
    message:
        "{wildcards.dataset}: writes the mosaic as an OME-TIFF"
    shell:
        "{params.dlir} ome_tiff --mosaic {input.mosaic} --output {output} --threads {threads} --log-file {log} --dataset {wildcards.dataset}"
