"""The figures that the README states, and the commands that measure them.

``python -m benchmarks`` runs all of them; ``python -m benchmarks NAME --quick`` one, with small
numbers. Ratios are medians of paired rounds in one run, so that they hold on another machine too;
milliseconds hold for the machine that the table names.
"""
