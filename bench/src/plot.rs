//! Draws figures as SVG: lines over an axis, readable on a light and on a dark page.

use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

const SIZE: (u32, u32) = (760, 380);
const FONT: (&str, u32) = ("sans-serif", 14);
/// Blue, orange and green of the palette of Okabe and Ito, which colour-blind readers can tell apart.
const COLOURS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];

/// A plot of a table.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Plot {
    /// The name of the file, without `.svg`.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Axis {
    pub(crate) label: String,
    /// Whether equal steps are equal factors.
    pub(crate) logarithmic: bool,
}

/// The points of a line, in order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Axis {
    pub(crate) fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), logarithmic: false }
    }

    pub(crate) fn logarithmic(label: &str) -> Self {
        Self { label: label.to_owned(), logarithmic: true }
    }

    /// Returns the scale that holds all values. A linear scale begins at 0.
    fn scale(&self, values: impl Iterator<Item = f64> + Clone) -> Scale {
        let most = values.clone().fold(f64::MIN, f64::max);
        let least = values.fold(f64::MAX, f64::min);
        match self.logarithmic {
            true => Scale {
                from: least.max(1e-9).log10() - 0.1,
                to: most.max(1e-9).log10() + 0.1,
                logarithmic: true,
            },
            false => Scale { from: 0.0, to: most * 1.08, logarithmic: false },
        }
    }
}

/// The range of an axis in its coordinates, which are logarithms on a logarithmic axis.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    fn coordinate(self, value: f64) -> f64 {
        if self.logarithmic { value.max(1e-9).log10() } else { value }
    }

    /// Returns the label of a coordinate.
    fn label(self, at: f64) -> String {
        let value = if self.logarithmic { 10_f64.powf(at) } else { at };
        if value >= 10.0 {
            format!("{value:.0}")
        } else {
            format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }

    /// Returns the ticks of a logarithmic axis: ones, twos and fives of each power of ten.
    fn ticks(self) -> Vec<f64> {
        let (low, high) = (self.from.floor() as i32, self.to.ceil() as i32);
        let all =
            (low..=high).flat_map(|power| [1.0_f64, 2.0, 5.0].map(|step| f64::from(power) + step.log10()));
        all.filter(|tick| (self.from..=self.to).contains(tick)).collect()
    }
}

/// A [`Scale`] with the traits of plotters.
struct Coordinates {
    scale: Scale,
    linear: RangedCoordf64,
}

impl Ranged for Coordinates {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.linear.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if self.scale.logarithmic { self.scale.ticks() } else { self.linear.key_points(hint) }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.scale.from..self.scale.to
    }
}

impl plotters::coord::ranged1d::ValueFormatter<f64> for Coordinates {
    fn format_ext(&self, value: &f64) -> String {
        self.scale.label(*value)
    }
}

impl AsRangedCoord for Scale {
    type CoordDescType = Coordinates;
    type Value = f64;
}

impl From<Scale> for Coordinates {
    fn from(scale: Scale) -> Self {
        Self { scale, linear: (scale.from..scale.to).into() }
    }
}

impl Plot {
    /// Writes the plot into the folder.
    pub(crate) fn draw(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(&self.name).with_extension("svg");
        std::fs::write(&path, self.svg()?).with_context(|| format!("can't write {}", path.display()))
    }

    fn svg(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        self.draw_on(SVGBackend::with_string(&mut text, SIZE))
            .map_err(|error| anyhow!("{}: {error}", self.name))?;
        Ok(text)
    }

    fn draw_on(&self, backend: SVGBackend<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (x, y) = (self.x.scale(points().map(|(x, _)| *x)), self.y.scale(points().map(|(_, y)| *y)));
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, (FONT.0, 17))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .label_style(FONT)
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let coordinates: Vec<_> =
                line.points.iter().map(|(at, value)| (x.coordinate(*at), y.coordinate(*value))).collect();
            chart
                .draw_series(LineSeries::new(coordinates.iter().copied(), colour.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(left, middle)| {
                    PathElement::new([(left, middle), (left + 18, middle)], colour.stroke_width(2))
                });
            chart.draw_series(
                coordinates.iter().map(|coordinate| Circle::new(*coordinate, 3, colour.filled())),
            )?;
        }
        if self.lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .border_style(RGBColor(200, 200, 200))
                .label_font(FONT)
                .draw()?;
        }
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(logarithmic: bool) -> Plot {
        let axis = |label: &str| Axis { label: label.to_owned(), logarithmic };
        let line = |name: &str, factor: f64| Line {
            name: name.to_owned(),
            points: [1.0, 10.0, 100.0].map(|at| (at, at * factor)).to_vec(),
        };
        let lines = vec![line("one", 1.0), line("two", 2.0)];
        Plot { name: "p".into(), title: "How it grows".into(), x: axis("clients"), y: axis("ms"), lines }
    }

    #[test]
    fn a_plot_names_its_axes_and_lines_and_has_every_point() {
        for logarithmic in [false, true] {
            let svg = plot(logarithmic).svg().unwrap();
            for word in ["How it grows", "clients", "ms", "one", "two"] {
                assert!(svg.contains(word), "{word}");
            }
            assert_eq!(svg.matches("<circle").count(), 6);
        }
    }

    #[test]
    fn steps_of_a_logarithmic_axis_are_round_numbers() {
        let scale = Axis::logarithmic("ms").scale([3.0, 40.0].into_iter());
        let ticks: Vec<_> = scale.ticks().into_iter().map(|tick| scale.label(tick)).collect();
        assert_eq!(ticks, ["5", "10", "20", "50"]);
    }
}
