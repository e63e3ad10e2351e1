# The command lines of short steps that run in the process of another one: they take less time than Python needs to start.

SELFCHECKED = {
    "tiles": "tiles.csv",
    "illumination": "illumination.tif",
    "pairs": "pairs.csv",
}  # the inputs of the self-check
EXPORTED = [steps.code("export"), steps.code("exposure"), SETTINGS.exposure.model_dump_json()]


def export_and_exposure(wildcards, input, output):
    """The command lines of the steps `export` and `exposure`, one behind the other."""
    name, settings = wildcards.dataset, shlex.quote(SETTINGS.exposure.model_dump_json())
    files = f"--tiles results/{name}/tiles.csv --placement results/{name}/placement.csv"
    pairs = "" if name in ADOPTED else f"--pairs {input.pairs}"
    exposure = (
        f"exposure {files} --illumination {input.illumination} {pairs} --output {output.exposure} --settings {settings}"
    )
    return f"export {files} --output {output.positions} --fiji {output.fiji} --then {exposure}"


def selfcheck_command(wildcards, device):
    """The command line of the step `selfcheck`, which keeps its table in the cache."""
    results = f"results/{wildcards.dataset}"
    files = " ".join(f"--{option} {results}/{file}" for option, file in SELFCHECKED.items())
    model = f"--model {model_file(wildcards)}" if NETWORK else ""
    cache = "" if BUCKET else f"--cache {results}/cache"
    settings = shlex.quote(SETTINGS.selfcheck.model_dump_json())
    return f"selfcheck {files} {model} --method {SETTINGS.register_.method} --settings {settings} --device {device} {cache}"


def selfcheck_ahead(wildcards, output, resources):
    """The step `selfcheck` behind `register`, while the network is loaded; not a setting of that, so it takes `output`.

    The rule of that step then finds its table in the cache. In a bucket there is none.
    """
    return "" if BUCKET else f"--then {selfcheck_command(wildcards, resources.device)}"
