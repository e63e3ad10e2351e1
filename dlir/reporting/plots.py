"""The plots of the report, in the order of the page. Each is a function of the results; plots.js draws them in the browser."""

from dlir.reporting.lens_plot import lens_plot
from dlir.reporting.machine_plots import cost_plot, exposure_plot, light_plot, stage_plot
from dlir.reporting.method_plots import calibration_plot, methods_plot, training_plot
from dlir.reporting.page_files import PageFiles
from dlir.reporting.page_plot import Plot
from dlir.reporting.pair_plots import loop_plot, place_in_tile_plot, residual_plot
from dlir.reporting.results import Results


def plots(results: Results, files: PageFiles) -> list[Plot]:
    """Returns the plots of the page, and adds their pictures to its files.

    Where the placement of another run was taken over, nothing was registered here, so there are no plots of the pairs.

    Args:
        results: those of one time point.
        files: of the page.
    """
    registered = [] if results.pairs is None else [
        residual_plot(results), loop_plot(results), place_in_tile_plot(results), stage_plot(results), calibration_plot(results),
        methods_plot(results), training_plot(results),
    ]  # fmt: skip
    return [*registered, lens_plot(results), light_plot(results, files), exposure_plot(results), cost_plot(results)]
