# affines.csv -> placement.csv -> mosaic.ome.zarr.


rule place:
    input:
        tiles="results/{dataset}/tiles.csv",
        affines="results/{dataset}/affines.csv",
        code=modules("place"),
    output:
        "results/{dataset}/placement.csv",
    log:
        "results/{dataset}/logs/place.log",
    conda:
        "../../envs/dlir.yaml"
    params:
        settings=SETTINGS.place.model_dump_json(),
    shell:
        "dlir place --tiles {input.tiles} --affines {input.affines} --output {output}"
        " --settings {params.settings:q} 2>&1 | tee {log}"


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
    conda:
        "../../envs/dlir.yaml"
    threads: 8
    params:
        settings=SETTINGS.mosaic.model_dump_json(),
    shell:
        "dlir mosaic --tiles {input.tiles} --illumination {input.illumination} --placement {input.placement}"
        " --output {output} --settings {params.settings:q} --threads {threads} 2>&1 | tee {log}"
