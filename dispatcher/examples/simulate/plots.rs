//! The plots of docs/explanation/scheduling.md.

use std::{error::Error, path::Path};

use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    },
    prelude::*,
};

use crate::{
    arrivals::{DAYS, HOUR, Mode, Who},
    quantile, sorted,
    world::Outcome,
};

type Outcomes<'a> = [(&'a str, Mode, Outcome)];
type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Points = Vec<(f64, f64)>;
type Format<'a> = &'a dyn Fn(&f64) -> String;

const SIZE: (u32, u32) = (960, 440);
const MINUTE: f64 = 60.0;
const DAY: f64 = 24.0 * HOUR;
const GREY: RGBColor = RGBColor(110, 110, 110);

const fn color(mode: Mode) -> RGBColor {
    match mode {
        Mode::Huge => RGBColor(0, 114, 178),
        Mode::Plain => RGBColor(0, 158, 115),
        Mode::Fifo => RGBColor(213, 94, 0),
    }
}

pub(crate) fn write(folder: &Path, outcomes: &Outcomes<'_>) -> Result<()> {
    waits(&folder.join("waiting-times.svg"), outcomes)?;
    over_time(&folder.join("waiting-over-time.svg"), outcomes)?;
    lengths(&folder.join("queue-length.svg"), outcomes)?;
    estimates(&folder.join("estimates.svg"), outcomes)
}

fn of<'a>(outcomes: &'a Outcomes<'_>, arch: &str) -> impl Iterator<Item = (Mode, &'a Outcome)> {
    outcomes.iter().filter(move |(name, ..)| *name == arch).map(|(_, mode, outcome)| (*mode, outcome))
}

/// Seconds on a logarithmic axis, from a second up, for people.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "plotters calls it")]
fn time(seconds: &f64) -> String {
    match *seconds {
        s if s < MINUTE => format!("{s:.0} s"),
        s if s < HOUR => format!("{:.0} min", s / MINUTE),
        s if s < DAY => format!("{:.0} h", s / HOUR),
        s => format!("{:.0} d", s / DAY),
    }
}

/// What stands on the axes and above them.
struct Labels<'a> {
    caption: &'a str,
    x: &'a str,
    y: &'a str,
}

/// Draws lines with their names.
fn draw<DB: DrawingBackend, X, Y>(
    area: &DrawingArea<DB, Shift>,
    labels: &Labels<'_>,
    (x, y): (X, Y),
    (format_x, format_y): (Format<'_>, Format<'_>),
    lines: &[(RGBColor, Points)],
) -> Result<()>
where
    DB::ErrorType: 'static,
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(labels.caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.25))
        .x_label_formatter(format_x)
        .y_label_formatter(format_y)
        .x_desc(labels.x)
        .y_desc(labels.y)
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .x_labels(8)
        .y_labels(8)
        .draw()?;
    for (color, points) in lines {
        chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
    }
    Ok(())
}

/// A white sheet with the names of the lines on top, and two plots beside each other below.
fn sheet<DB: DrawingBackend>(root: &DrawingArea<DB, Shift>) -> Result<Vec<DrawingArea<DB, Shift>>>
where
    DB::ErrorType: 'static,
{
    root.fill(&WHITE)?;
    let (top, rest) = root.split_vertically(30);
    let mut x = 80;
    for mode in Mode::ALL {
        top.draw(&PathElement::new([(x, 18), (x + 24, 18)], color(mode).stroke_width(3)))?;
        top.draw(&Text::new(mode.name(), (x + 32, 12), ("sans-serif", 14)))?;
        x += 220;
    }
    Ok(rest.split_evenly((1, 2)))
}

/// Which part of the jobs has started after how long.
fn waits(file: &Path, outcomes: &Outcomes<'_>) -> Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    for (area, who) in sheet(&root)?.iter().zip([Who::People, Who::Gates]) {
        let line = |(mode, outcome): (Mode, &Outcome)| {
            let waits = sorted(outcome.waits.iter().filter(|wait| wait.0 == who).map(|wait| wait.3));
            let point = |percent: u32| {
                let part = f64::from(percent) / 200.0;
                (quantile(&waits, part).max(1.0), part * 100.0)
            };
            (color(mode), (0..=200).map(point).collect())
        };
        let lines: Vec<_> = of(outcomes, "amd64").map(line).collect();
        let caption = format!("Started after at most so long: {}, amd64", who.name());
        let labels = Labels { caption: &caption, x: "waited", y: "part of the jobs" };
        let (x, y) = (
            (1.0..4.0 * DAY).log_scale().with_key_points(vec![1.0, 10.0, 60.0, 600.0, HOUR, 6.0 * HOUR, DAY]),
            0.0..100.0,
        );
        draw(area, &labels, (x, y), (&time, &|part| format!("{part:.0} %")), &lines)?;
    }
    Ok(root.present()?)
}

/// The median wait of what came in each two hours.
fn over_time(file: &Path, outcomes: &Outcomes<'_>) -> Result<()> {
    const STEP: f64 = 2.0 * HOUR;
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    for (area, arch) in sheet(&root)?.iter().zip(["amd64", "riscv64"]) {
        let line = |(mode, outcome): (Mode, &Outcome)| {
            let mut points = Points::new();
            let mut from = 0.0;
            while from < DAYS * DAY {
                let came = |wait: &&(Who, String, f64, f64)| {
                    wait.0 == Who::Gates && wait.2 >= from && wait.2 < from + STEP
                };
                let waits = sorted(outcome.waits.iter().filter(came).map(|wait| wait.3));
                points.push(((from + STEP / 2.0) / DAY, quantile(&waits, 0.5).max(1.0)));
                from += STEP;
            }
            (color(mode), points)
        };
        let lines: Vec<_> = of(outcomes, arch).map(line).collect();
        let caption = format!("Median wait of gates' tests, by arrival: {arch}");
        let labels = Labels { caption: &caption, x: "came on day", y: "waited" };
        let y =
            (1.0..8.0 * DAY).log_scale().with_key_points(vec![1.0, 10.0, 60.0, 600.0, HOUR, 6.0 * HOUR, DAY]);
        draw(area, &labels, (0.0..DAYS, y), (&|day| format!("{day:.1}"), &time), &lines)?;
    }
    Ok(root.present()?)
}

/// How many of the gates' tests but perl's wait.
fn lengths(file: &Path, outcomes: &Outcomes<'_>) -> Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    for (area, arch) in sheet(&root)?.iter().zip(["amd64", "riscv64"]) {
        let line = |(mode, outcome): (Mode, &Outcome)| {
            let shown = outcome.lengths.iter().filter(|(at, _)| *at <= DAYS * DAY);
            let point = |(at, waiting): &(f64, [usize; 3])| {
                let all = waiting[Who::People as usize] + waiting[Who::Gates as usize];
                (*at / DAY, f64::from(u32::try_from(all).unwrap_or(u32::MAX)))
            };
            (color(mode), shown.map(point).collect::<Points>())
        };
        let lines: Vec<_> = of(outcomes, arch).map(line).collect();
        let most = lines.iter().flat_map(|(_, points)| points).map(|(_, n)| *n).fold(100.0, f64::max);
        let caption = format!("Waiting, without perl's 25,000: {arch}");
        let labels = Labels { caption: &caption, x: "day", y: "tests" };
        let ranges = (0.0..DAYS, 0.0..most * 1.05);
        draw(area, &labels, ranges, (&|day| format!("{day:.1}"), &|n| format!("{n:.0}")), &lines)?;
    }
    Ok(root.present()?)
}

/// Said against what came.
fn estimates(file: &Path, outcomes: &Outcomes<'_>) -> Result<()> {
    const MOST: f64 = 8.0 * DAY;
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, arch) in root.split_evenly((1, 2)).iter().zip(["amd64", "riscv64"]) {
        let keys = vec![1.0, 10.0, 60.0, 600.0, HOUR, 6.0 * HOUR, DAY];
        let axis = || (1.0..MOST).log_scale().with_key_points(keys.clone());
        let mut chart = ChartBuilder::on(area)
            .caption(format!("Estimates, perl as huge: {arch}"), ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(axis(), axis())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.25))
            .x_label_formatter(&time)
            .y_label_formatter(&time)
            .x_desc("said")
            .y_desc("came")
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .draw()?;
        let all = of(outcomes, arch).filter(|(mode, _)| *mode == Mode::Huge);
        let points = all.flat_map(|(_, outcome)| outcome.estimates.iter().step_by(4));
        let dot = |(said, took): &(f64, f64)| {
            Circle::new((said.max(1.0), took.max(1.0)), 2, color(Mode::Huge).mix(0.35).filled())
        };
        chart.draw_series(points.map(dot))?;
        chart.draw_series(LineSeries::new([(1.0, 1.0), (MOST, MOST)], GREY.stroke_width(1)))?;
    }
    Ok(root.present()?)
}
