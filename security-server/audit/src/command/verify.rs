//! `jibek-audit verify`: a verdict a container.

use anyhow::Context;
use clap::{Args, ValueEnum};
use jibek_audit::{
    Counts, Junit, Line, SCHEMA, Standing, Style, VerifyOptions, as_json, as_line, summary_as_json,
    verify,
};
use jibek_conf::files::atomic_write;
use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::{
    bench::Bench,
    options::{ConfigurationOptions, PgpOptions},
    progress::Progress,
};

/// Options of `jibek-audit verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    configuration: ConfigurationOptions,
    #[command(flatten)]
    pgp: PgpOptions,
    /// Print one JSON object a line instead, as --json-schema says.
    #[arg(long)]
    json: bool,
    /// Print the schema of what --json prints, and do nothing else.
    #[arg(long, exclusive = true)]
    json_schema: bool,
    /// Write a report for build servers, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Make invalid what lies in a container, archive or log without being covered.
    #[arg(long)]
    strict: bool,
    /// How many to judge at the same time; 0 is one for each core.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    jobs: usize,
    /// Say on stderr how fast it was, next to what a core could do at most.
    #[arg(long, hide = true)]
    bench: bool,
    /// When to use colours. Never with NO_COLOR in the environment.
    #[arg(long, value_enum, default_value_t = When::Auto)]
    color: When,
    /// Containers; ZIP archives of them, in any order; directories of either; directories of a server's message log.
    #[arg(required_unless_present = "json_schema", value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    Always,
    /// On a terminal.
    Auto,
    Never,
}

impl Verify {
    /// Judges everything, and prints what it found.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        if self.json_schema {
            io::stdout()
                .write_all(SCHEMA.as_bytes())
                .context("cannot write")?;
            return Ok(ExitCode::SUCCESS);
        }
        let configuration = self.configuration.configuration()?;
        let mut options = VerifyOptions::default();
        options.threads = self.jobs;
        options.source.decryptor = self.pgp.decryptor()?;
        let mut report = Report {
            verify: self,
            style: self.style(),
            out: io::BufWriter::new(io::stdout().lock()),
            eager: io::stdout().is_terminal(),
            counts: Counts::default(),
            junit: self.junit.is_some().then(Junit::default),
            progress: Progress::start(),
            lines: 0,
        };
        let bench = Bench::start();
        let walk = verify(&self.files, &options, &configuration, |line| {
            report.show(&line)
        })
        .context("cannot write")?;
        report.counts.passed(walk);
        let judged = report.counts.containers();
        if self.bench {
            let said = bench.finish(judged, self.jobs)?;
            writeln!(io::stderr(), "{said}").context("cannot write")?;
        }
        let standing = report.finish()?;
        Ok(ExitCode::from(standing.exit_code()))
    }

    fn style(&self) -> Style {
        let wanted = match self.color {
            When::Always => true,
            When::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            When::Never => false,
        };
        match wanted {
            true => Style::Colour,
            false => Style::Plain,
        }
    }
}

/// Everything that is printed or written.
struct Report<'a, W: Write> {
    verify: &'a Verify,
    style: Style,
    out: W,
    /// Somebody waits for each line.
    eager: bool,
    counts: Counts,
    junit: Option<Junit>,
    progress: Progress,
    lines: u64,
}

impl<W: Write> Report<'_, W> {
    fn show(&mut self, line: &Line) -> io::Result<()> {
        let strict = self.verify.strict;
        self.counts.add(line, strict);
        self.lines = self.lines.saturating_add(1);
        if let Some(junit) = &mut self.junit {
            junit.add(line, strict);
        }
        match self.verify.json {
            true => writeln!(self.out, "{}", as_json(line, strict))?,
            false => writeln!(self.out, "{}", as_line(line, strict, self.style))?,
        }
        if self.eager {
            self.out.flush()?;
        }
        self.progress.show(self.counts.containers());
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<Standing> {
        self.progress.end();
        if self.lines != 1 || self.counts.passed_over > 0 {
            match self.verify.json {
                true => writeln!(self.out, "{}", summary_as_json(&self.counts)),
                false => writeln!(self.out, "{}", self.counts.as_line(self.style)),
            }
            .context("cannot write")?;
        }
        self.out.flush().context("cannot write")?;
        if let (Some(junit), Some(file)) = (&self.junit, &self.verify.junit) {
            atomic_write(file, junit.finish(&self.counts).as_bytes())
                .context("cannot write the report for build servers")?;
        }
        Ok(self.counts.standing())
    }
}
