//! Rows of cells as aligned text that fits the room that there is. Knows nothing of objects; `table` says what stands in a cell.

use comfy_table::{ContentArrangement, Table, presets};

use crate::printer::visible;

/// Blanks between columns where there is room for them, and where there is not.
const GAPS: [u16; 2] = [3, 2];

/// The narrowest that a cell is cut to: less says nothing.
const CELL_MIN: usize = 6;

/// How much room a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// As much as it needs, with every column and every entry of a list.
    Wide,
    /// So many columns, where a script may read: names, lists and what stands last are never cut.
    Columns(usize),
    /// The columns of a terminal that a person looks at.
    Terminal(usize),
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// An object's name.
    Name(String),
    /// Any text.
    Text(String),
    /// A list, which may be shown in part: `10.0.0.1,10.0.0.2,+2`.
    List(Vec<String>),
}

impl Cell {
    pub(super) fn name(name: &str) -> Self {
        Self::Name(name.to_owned())
    }

    pub(super) fn text(text: String) -> Self {
        Self::Text(text)
    }

    /// The cell with at most so many entries of a list, in one line whatever an object says.
    fn shown(&self, entries_max: usize) -> String {
        let text = match self {
            Self::Name(text) | Self::Text(text) => text.clone(),
            Self::List(list) if list.len() <= entries_max => list.join(","),
            Self::List(list) => {
                let (shown, rest) = list.split_at(entries_max);
                let mut words = shown.to_vec();
                words.push(format!("+{}", rest.len()));
                words.join(",")
            }
        };
        visible(&text).into_owned()
    }
}

/// Lays rows out, with a heading or without.
pub(super) fn table(heading: Option<&[&str]>, rows: Vec<Vec<Cell>>, room: Room) -> String {
    let columns = match room {
        Room::Wide => return laid_out(heading, &texts(&rows, usize::MAX), GAPS[0]),
        Room::Columns(columns) | Room::Terminal(columns) => columns,
    };
    for gap in GAPS {
        for entries_max in [2, 1] {
            let texts = texts(&rows, entries_max);
            if width(heading, &texts, gap) <= columns {
                return laid_out(heading, &texts, gap);
            }
        }
    }
    let gap = GAPS[GAPS.len() - 1];
    let mut texts = texts(&rows, 1);
    cut(heading, &rows, &mut texts, gap, room, columns);
    laid_out(heading, &texts, gap)
}

fn texts(rows: &[Vec<Cell>], entries_max: usize) -> Vec<Vec<String>> {
    rows.iter()
        .map(|row| row.iter().map(|cell| cell.shown(entries_max)).collect())
        .collect()
}

fn widths(heading: Option<&[&str]>, texts: &[Vec<String>]) -> Vec<usize> {
    let count = texts.iter().map(Vec::len).max().unwrap_or_default();
    (0..count)
        .map(|column| {
            let cells = texts.iter().filter_map(|row| row.get(column));
            let cells = cells.map(|cell| cell.chars().count()).max();
            let heading = heading.and_then(|heading| heading.get(column));
            cells
                .unwrap_or_default()
                .max(heading.map_or(0, |heading| heading.chars().count()))
        })
        .collect()
}

/// The columns that a table takes: no gap follows the last one.
fn width(heading: Option<&[&str]>, texts: &[Vec<String>], gap: u16) -> usize {
    let widths = widths(heading, texts);
    let gaps = widths.len().saturating_sub(1) * usize::from(gap);
    widths.iter().sum::<usize>() + gaps
}

/// Cuts the widest column, again and again, until the table fits or nothing more may be cut.
fn cut(
    heading: Option<&[&str]>,
    rows: &[Vec<Cell>],
    texts: &mut [Vec<String>],
    gap: u16,
    room: Room,
    columns: usize,
) {
    let is_read = matches!(room, Room::Columns(_));
    loop {
        let over = width(heading, texts, gap).saturating_sub(columns);
        if over == 0 {
            return;
        }
        let widths = widths(heading, texts);
        let is_whole = |column: usize| {
            let mut cells = rows.iter().filter_map(|row| row.get(column));
            column + 1 == widths.len() || cells.any(|cell| !matches!(cell, Cell::Text(_)))
        };
        let floor = |column: usize| {
            let heading = heading.and_then(|heading| heading.get(column));
            CELL_MIN.max(heading.map_or(0, |heading| heading.chars().count()))
        };
        let widest = (0..widths.len())
            .filter(|column| widths[*column] > floor(*column))
            .filter(|column| !(is_read && is_whole(*column)))
            .max_by_key(|column| widths[*column]);
        let Some(column) = widest else { return };
        let to = widths[column].saturating_sub(over).max(floor(column));
        // Not further than the next widest at once, so that several long columns share the loss.
        let to = to.max(widths[column] - 1);
        for cell in texts.iter_mut().filter_map(|row| row.get_mut(column)) {
            if cell.chars().count() > to {
                *cell = cell.trim_end_matches('…').to_owned();
                *cell = cell.chars().take(to - 1).chain(['…']).collect();
            }
        }
    }
}

fn laid_out(heading: Option<&[&str]>, texts: &[Vec<String>], gap: u16) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if let Some(heading) = heading {
        table.set_header(heading.iter().copied());
    }
    for row in texts {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, gap));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
