//! Two servers under load, killed and starved at chosen and at random moments; afterwards everything that was
//! acknowledged must be there, whole and provable.
//!
//! After each fault the log of its victim is checked by `msglog-fsck` before anybody opens it, the server starts, and
//! the load generator's own list is held against both logs. In the end `jibek-audit` judges every record of both.

pub mod clock;
pub mod country;
pub mod damage;
pub mod ledger;
pub mod load;
pub mod points;
pub mod table;

use std::{path::PathBuf, time::Duration};

use jibek_audit::{Configuration, Counts, VerifyOptions, read_configuration, verify};
use jibek_msglog::{LogReader, fs::OsFs};
use tokio::time::Instant;

use crate::{http::eventually, processes::Programs};
use country::{Country, Started};
use ledger::Ledger;
use load::Load;
use points::{FAULTS, Fault, Pace};
use table::Table;

/// How long and in which order.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Faults are drawn in an order that depends on this alone. The moments of kills are not: the machine decides.
    pub seed: u64,
    /// Stops after so long, when every place was tried and so many kills were made.
    pub period: Duration,
    /// Kills at random moments, at least.
    pub kills: usize,
    /// How many places are tried; all of them, or a choice by the seed.
    pub places: usize,
    /// Callers at once.
    pub callers: usize,
}

/// What goes wrong with the harness itself, or is wrong with the servers, in words.
pub type Failure = Box<dyn std::error::Error>;

/// Tortures a country.
///
/// # Errors
///
/// At the first message that is lost or half there, the first log that is not clean, and when service does not go on.
pub async fn run(
    programs: Programs,
    settings: &Settings,
    say: impl FnMut(&str),
) -> Result<Table, Failure> {
    let mut torture = Torture::start(programs, settings.clone(), say).await?;
    let done = torture.faults().await;
    let ended = match done {
        Ok(()) => torture.end().await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => Ok(torture.table),
        Err(error) => Err(torture.explain(&*error).into()),
    }
}

struct Torture<S> {
    settings: Settings,
    country: Country,
    load: Load,
    ledgers: [Ledger; 2],
    table: Table,
    chance: Chance,
    /// Acknowledged when the last fault struck.
    struck: usize,
    /// Acknowledged and found.
    found: usize,
    say: S,
}

impl<S: FnMut(&str)> Torture<S> {
    async fn start(programs: Programs, settings: Settings, say: S) -> Result<Self, Failure> {
        let mut country = Country::start(programs).await?;
        for server in [0, 1] {
            match country.start_server(server, &[]).await? {
                Started::Ready => {}
                Started::Ended(status) => return Err(format!("it ended: {status}").into()),
            }
        }
        let load = Load::start(&country.url(0), settings.callers);
        let ledgers = [0, 1].map(|server| Ledger::new(&country.log_dir(server)));
        Ok(Self {
            chance: Chance(settings.seed),
            settings,
            country,
            load,
            ledgers,
            table: Table::default(),
            struck: 0,
            found: 0,
            say,
        })
    }

    /// Every place once, or a choice of them; then kills alone, until time and number are reached. Each fault at a place
    /// follows a kill at a random moment, since its victim must start with it.
    async fn faults(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + self.settings.period;
        let mut kills = 0;
        loop {
            let mut faults = FAULTS.to_vec();
            self.chance.shuffle(&mut faults);
            faults.truncate(self.settings.places);
            for fault in faults {
                let victim = fault.server().unwrap_or_else(|| self.chance.below(2));
                self.load.reaches(self.struck + LEAST_BETWEEN).await?;
                self.kill(victim).await?;
                kills += 1;
                self.place(fault, victim).await?;
            }
            (self.say)(&format!(
                "every chosen place was tried; {kills} kills, {} messages acknowledged, all found",
                self.found
            ));
            while kills < self.settings.kills {
                self.load.reaches(self.struck + LEAST_BETWEEN).await?;
                let victim = self.chance.below(2);
                self.kill(victim).await?;
                self.check(victim).await?;
                self.restart(victim, &[]).await?;
                kills += 1;
            }
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    /// `kill -9` at some moment of a message's way.
    async fn kill(&mut self, victim: usize) -> Result<(), Failure> {
        let moment = Duration::from_micros(u64::try_from(self.chance.below(60_000))?);
        tokio::time::sleep(moment).await;
        self.country.kill(victim)?;
        self.struck("kill -9");
        Ok(())
    }

    /// Starts a victim with a fault and waits until it has met it.
    async fn place(&mut self, fault: Fault, victim: usize) -> Result<(), Failure> {
        self.check(victim).await?;
        let pass = match fault.pace {
            Pace::Often => 2 + self.chance.below(20),
            Pace::Seldom => 1 + self.chance.below(2),
            Pace::Starting => 1,
        };
        let plan = fault.plan(u64::try_from(pass)?);
        let name = fault.name();
        let told = self.country.told(victim)?.len();
        let started = self
            .country
            .start_server(victim, &[("JIBEK_FAULT", &plan)])
            .await?;
        let is_ready = started == Started::Ready;
        if is_ready {
            self.meets(victim, &fault, told)
                .await
                .map_err(|why| format!("{plan} on server {victim}: {why}"))?;
        }
        self.struck(&name);
        if fault.ends() || !is_ready {
            self.check(victim).await?;
            return self.restart(victim, &[]).await;
        }
        // The disk is well again: service goes on, and nobody had to restart anything.
        let struck = self.struck;
        self.load
            .reaches(struck + LEAST_BETWEEN)
            .await
            .map_err(|why| format!("after {plan} on server {victim}: {why}"))?;
        self.check(victim).await
    }

    async fn meets(&mut self, victim: usize, fault: &Fault, told: usize) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self
                .country
                .has_ended(victim)
                .map_err(|it| it.to_string())?
            {
                return if fault.ends() {
                    Ok(())
                } else {
                    Err("it ended, and should have gone on".to_owned())
                };
            }
            if !fault.ends() {
                let text = self.country.told(victim).map_err(|it| it.to_string())?;
                let text = text.get(told..).unwrap_or_default();
                let is_it = |line: &str| line.contains("fault point") && line.contains(fault.place);
                if text.lines().any(is_it) {
                    return Ok(());
                }
            }
            if Instant::now() >= deadline {
                return Err("the place was never reached".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn restart(
        &mut self,
        victim: usize,
        environment: &[(&str, &str)],
    ) -> Result<(), Failure> {
        match self.country.start_server(victim, environment).await? {
            Started::Ready => Ok(()),
            Started::Ended(status) => {
                Err(format!("server {victim} does not start again: {status}").into())
            }
        }
    }

    fn struck(&mut self, name: &str) {
        let count = self.load.count();
        self.table.add(name, count - self.struck);
        self.struck = count;
    }

    /// The log of the victim is clean, and both logs have everything that was acknowledged so far.
    async fn check(&mut self, victim: usize) -> Result<(), Failure> {
        self.country.fsck(victim).await?;
        self.look()
    }

    fn look(&mut self) -> Result<(), Failure> {
        if let Some(wrong) = self.load.wrong() {
            return Err(wrong.into());
        }
        let list = self.load.list(self.found);
        for (server, ledger) in self.ledgers.iter_mut().enumerate() {
            ledger
                .look()
                .map_err(|why| format!("log of server {server}: {why}"))?;
            let lost = ledger.lost(&list);
            if !lost.is_empty() {
                self.table.lost += lost.len();
                return Err(format!("{} lost on server {server}: {lost:?}", lost.len()).into());
            }
        }
        self.country.system.forget();
        self.found += list.len();
        self.table.acknowledged = self.found;
        Ok(())
    }

    /// No more load: damage on copies, clocks, and the auditor's word on every record.
    async fn end(&mut self) -> Result<(), Failure> {
        if let Some(jumps) = clock::jump(&mut self.country, &self.load, &mut self.chance).await? {
            for jump in jumps {
                self.table.add(&jump, self.load.count() - self.struck);
                self.struck = self.load.count();
            }
        } else {
            self.table
                .skipped
                .push("clock jumps: libfaketime is not installed");
        }
        self.load.stop().await;
        for server in [0, 1] {
            self.check(server).await?;
        }
        let dirs: Vec<PathBuf> = [0, 1].map(|server| self.country.log_dir(server)).into();
        damage::on_copies(&dirs, &mut self.chance, &mut self.table)?;
        eventually(PATIENCE, || std::future::ready(all_stamped(&dirs))).await?;
        let conf = self.country.server_dir(0).join("state").join("globalconf");
        let records: usize = self.ledgers.iter().map(Ledger::records).sum();
        let counts = tokio::task::block_in_place(|| audit(&dirs, &conf))?;
        self.table.proved = counts.valid;
        if counts.valid != u64::try_from(records)? || counts.invalid + counts.cannot_judge > 0 {
            return Err(format!("of {records} records the auditor says: {counts:?}").into());
        }
        self.table.refused = self.load.refused();
        Ok(())
    }

    /// An error with the last that both servers said; their files go with the country.
    fn explain(&self, error: &dyn std::error::Error) -> String {
        let mut text = format!("{error}\nseed {}\n", self.settings.seed);
        for server in [0, 1] {
            let told = self.country.told(server).unwrap_or_default();
            let lines: Vec<_> = told.lines().collect();
            let from = lines.len().saturating_sub(LINES_TOLD);
            text.push_str(&format!("server {server} said last:\n"));
            for line in lines.get(from..).unwrap_or_default() {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

fn all_stamped(dirs: &[PathBuf]) -> Result<(), String> {
    for dir in dirs {
        let (_, report) = LogReader::open(dir, OsFs::shared()).map_err(|it| it.to_string())?;
        if report.unstamped > 0 {
            return Err(format!("{} records have no stamp", report.unstamped));
        }
    }
    Ok(())
}

fn audit(dirs: &[PathBuf], configuration: &std::path::Path) -> Result<Counts, String> {
    let snapshot = read_configuration(configuration).map_err(|it| it.to_string())?;
    let configuration = Configuration::fixed(snapshot);
    let mut counts = Counts::default();
    verify(dirs, &VerifyOptions::default(), &configuration, |line| {
        counts.add(&line, false);
        Ok(())
    })
    .map_err(|it| it.to_string())?;
    Ok(counts)
}

/// Repeatable chance (splitmix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit.max(1)).unwrap_or(1))
            .unwrap_or_default()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Messages acknowledged between two faults, at least.
const LEAST_BETWEEN: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);
const LINES_TOLD: usize = 25;
