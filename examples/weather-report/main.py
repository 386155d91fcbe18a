"""A year of weather at three stations: a table, a trend, and a chart in chart.png."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

readings = pd.read_csv("readings.csv", parse_dates=["day"])
missing = int(readings["temperature"].isna().sum())
print(f"{len(readings)} readings, {missing} without a temperature", file=sys.stderr)

by_station = readings.groupby("station", sort=True)
summary = by_station.agg(
    mean=("temperature", "mean"),
    coldest=("temperature", "min"),
    warmest=("temperature", "max"),
    rain=("rain", "sum"),
).round(1)
summary["wet days"] = by_station["rain"].apply(lambda rain: int((rain > 0).sum()))
for station, days in by_station:
    known = days.dropna(subset="temperature")
    # The year's wave: temperature is a constant and one sine of the day, found by least squares.
    phase = 2 * np.pi * known["day"].dt.dayofyear.to_numpy() / 365
    waves = np.column_stack([np.ones_like(phase), np.sin(phase), np.cos(phase)])
    solution, *_ = np.linalg.lstsq(waves, known["temperature"].to_numpy(), rcond=None)
    summary.loc[station, "swing"] = round(2 * float(np.hypot(*solution[1:])), 1)
print(summary.to_string())

wide = readings.pivot(index="day", columns="station", values="temperature").interpolate()
first, second = summary.index[:2]
correlation = stats.pearsonr(wide[first], wide[second])
print(f"\n{first} and {second} go together: r = {correlation.statistic:.2f}")

figure, axes = plt.subplots(figsize=(8, 4))
wide.resample("W").mean().plot(ax=axes, xlabel="", ylabel="°C", title="Température · 気温 · 기온")
figure.tight_layout()
figure.savefig("chart.png", dpi=100)
print(f"chart.png: {plt.imread('chart.png').shape[1]} × {plt.imread('chart.png').shape[0]} pixels")
