//! Log lines: one line per event, for people (`time LEVEL target: message key=value …`) or as JSON for machines.

use std::fmt;
use std::io::IsTerminal;
use tracing::{Event, Subscriber, field::Visit};
use tracing_subscriber::{
    Registry,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer, time::FormatTime, time::SystemTime},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Human,
    Json,
}

/// What [`init`] is told. The environment variable `WOLKE_LOG` outranks `filter`.
#[derive(Clone, Debug)]
pub struct Logging {
    /// A level, or directives such as `info,region=debug,sqlx=warn`.
    pub filter: String,
    pub format: Format,
}

impl Default for Logging {
    fn default() -> Logging {
        Logging { filter: "info".to_string(), format: Format::Human }
    }
}

/// Changes the filter of a running process.
#[derive(Clone)]
pub struct LogControl(reload::Handle<Targets, Registry>);

impl LogControl {
    /// Replaces the filter. Errors name the directive that does not parse.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        self.0.reload(parse(filter)?).map_err(|e| e.to_string())
    }
}

/// By target and level alone: a filter that knows spans as well looks at each of them whenever a task goes on or rests, which is many times a request.
fn parse(filter: &str) -> Result<Targets, String> {
    if filter.contains('[') {
        return Err(format!("log filter {filter:?}: spans cannot be named; write TARGET=LEVEL"));
    }
    // An empty part would stand for errors alone.
    let parts: Vec<&str> = filter.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.join(",").parse().map_err(|e: tracing_subscriber::filter::ParseError| format!("log filter {filter:?}: {e}"))
}

/// Installs the process's one subscriber, writing to standard error. Fails when a filter does not parse or a subscriber is already there.
pub fn init(logging: &Logging) -> Result<LogControl, String> {
    let filter = std::env::var("WOLKE_LOG").ok().filter(|f| !f.is_empty()).unwrap_or_else(|| logging.filter.clone());
    let (filter, handle) = reload::Layer::new(parse(&filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match logging.format {
        Format::Human => {
            registry.with(lines.with_ansi(std::io::stderr().is_terminal()).event_format(Line { clock: SystemTime })).try_init()
        }
        Format::Json => registry.with(lines.json().flatten_event(true).with_span_list(false)).try_init(),
    }
    .map_err(|e| format!("logging: {e}"))?;
    Ok(LogControl(handle))
}

/// The human form.
struct Line<T> {
    clock: T,
}

impl<S, N, T> FormatEvent<S, N> for Line<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatTime,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut w: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        self.clock.format_time(&mut w)?;
        let meta = event.metadata();
        let level = meta.level();
        if w.has_ansi_escapes() {
            let colour = match *level {
                tracing::Level::ERROR => "31",
                tracing::Level::WARN => "33",
                tracing::Level::INFO => "32",
                _ => "2",
            };
            write!(w, " \x1b[{colour}m{level:5}\x1b[0m ")?;
        } else {
            write!(w, " {level:5} ")?;
        }
        write!(w, "{}: ", meta.target())?;
        let mut fields = Fields { w: w.by_ref(), rest: String::new(), result: Ok(()) };
        event.record(&mut fields);
        let (rest, result) = (fields.rest, fields.result);
        result?;
        w.write_str(&rest)?;
        for span in ctx.event_scope().into_iter().flatten().collect::<Vec<_>>().into_iter().rev() {
            let extensions = span.extensions();
            if let Some(text) = extensions.get::<FormattedFields<N>>().filter(|f| !f.is_empty()) {
                write!(w, " {}.{text}", span.name())?;
            }
        }
        writeln!(w)
    }
}

/// Writes the message at once and keeps the other fields for after it.
struct Fields<'a> {
    w: Writer<'a>,
    rest: String,
    result: fmt::Result,
}

impl Fields<'_> {
    fn put(&mut self, name: &str, text: &str) {
        // A value from a guest or a client must not be able to start a line of its own.
        if name == "message" {
            self.result = self.result.and(one_line(&mut self.w, text));
        } else {
            self.rest.push(' ');
            self.rest.push_str(name.strip_prefix("r#").unwrap_or(name));
            self.rest.push('=');
            if text.is_empty() || text.contains(|c: char| c == ' ' || c == '"' || c == '=' || c.is_control()) {
                self.rest.push_str(&format!("{text:?}"));
            } else {
                self.rest.push_str(text);
            }
        }
    }
}

fn one_line(w: &mut impl fmt::Write, text: &str) -> fmt::Result {
    if !text.contains(char::is_control) {
        return w.write_str(text);
    }
    text.chars().try_for_each(|c| if c.is_control() { write!(w, "{}", c.escape_default()) } else { w.write_char(c) })
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.put(field.name(), value);
    }
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Sink {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct NoClock;
    impl FormatTime for NoClock {
        fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
            w.write_str("T")
        }
    }

    #[test]
    fn a_line_holds_message_fields_and_spans_and_never_breaks() {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer =
            tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone()).event_format(Line { clock: NoClock });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _span = tracing::info_span!("request", id = "r1").entered();
            tracing::warn!(target: "t", host = %"h 1\nERROR forged", n = 3, "disk\nfull");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "T WARN  t: disk\\nfull host=\"h 1\\nERROR forged\" n=3 request.id=\"r1\"\n");
    }

    #[test]
    fn a_bad_filter_is_named() {
        assert!(parse("region=loud").unwrap_err().contains("region=loud"));
        assert!(parse("info,region[span]=debug").unwrap_err().contains("region[span]"));
        assert_eq!(parse(" info, ,region=debug,").unwrap(), parse("info,region=debug").unwrap());
    }
}
