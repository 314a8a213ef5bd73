//! The command line of `drive`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What ends the program, in words for the person who started it.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<rustix::io::Errno> for Fault {
    fn from(error: rustix::io::Errno) -> Self {
        Self(error.to_string())
    }
}

/// What happens to a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It takes the next request.
    KeepAlive,
    /// The server closes it: every request has a connection of its own.
    Close,
}

/// How arrivals are spread within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrivals {
    Constant,
    Poisson,
}

/// So many requests a second for so long. At rate 0 the next request leaves with each answer:
/// a closed loop, for throughput and not for latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stage {
    pub(crate) rate: f64,
    pub(crate) seconds: f64,
}

/// What `drive` is told.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) target: SocketAddr,
    pub(crate) requests: PathBuf,
    pub(crate) stages: Vec<Stage>,
    pub(crate) connections: usize,
    pub(crate) mode: Mode,
    pub(crate) arrivals: Arrivals,
    pub(crate) status: u16,
    /// Where the click ids of answers go; none: they are not kept.
    pub(crate) ids: Option<PathBuf>,
    pub(crate) seed: u64,
    /// How long answers are waited for after the last request was due.
    pub(crate) grace_s: f64,
}

const CONNECTIONS_MAX: usize = 20_000;
const STAGES_MAX: usize = 64;
const SECONDS_MAX: f64 = 3600.0;

impl Arguments {
    /// Pairs of `--name value`. Anything unknown, missing or out of range is refused.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, Fault> {
        let mut given = pairs(words)?;
        let mut take = |name: &str, default: Option<&str>| {
            given
                .remove(name)
                .or(default.map(str::to_owned))
                .ok_or_else(|| Fault(format!("--{name} is missing")))
        };
        let arguments = Self {
            target: number(&take("target", None)?, "target")?,
            requests: take("requests", None)?.into(),
            stages: stages(&take("stages", None)?)?,
            connections: number(&take("connections", Some("64"))?, "connections")?,
            mode: match take("mode", Some("keep-alive"))?.as_str() {
                "keep-alive" => Mode::KeepAlive,
                "close" => Mode::Close,
                other => return Err(Fault(format!("--mode {other}: keep-alive or close"))),
            },
            arrivals: match take("arrivals", Some("constant"))?.as_str() {
                "constant" => Arrivals::Constant,
                "poisson" => Arrivals::Poisson,
                other => return Err(Fault(format!("--arrivals {other}: constant or poisson"))),
            },
            status: number(&take("status", Some("302"))?, "status")?,
            ids: Some(take("ids", Some(""))?).filter(|path| !path.is_empty()).map(Into::into),
            seed: number(&take("seed", Some("1"))?, "seed")?,
            grace_s: number(&take("grace", Some("10"))?, "grace")?,
        };
        if let Some(name) = given.keys().next() {
            return Err(Fault(format!("--{name} is unknown")));
        }
        if !arguments.target.ip().is_loopback() {
            return Err(Fault("load goes to this machine only: a loopback address".to_owned()));
        }
        if arguments.connections == 0 || arguments.connections > CONNECTIONS_MAX {
            return Err(Fault(format!("--connections: 1 to {CONNECTIONS_MAX}")));
        }
        Ok(arguments)
    }
}

fn pairs(mut words: impl Iterator<Item = String>) -> Result<BTreeMap<String, String>, Fault> {
    let mut given = BTreeMap::new();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").ok_or_else(|| Fault(format!("{word}: no option")))?;
        let value = words.next().ok_or_else(|| Fault(format!("{word} needs a value")))?;
        given.insert(name.to_owned(), value);
    }
    Ok(given)
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault(format!("--{name}: cannot be {text}")))
}

/// `RATE:SECONDS,RATE:SECONDS`
fn stages(text: &str) -> Result<Vec<Stage>, Fault> {
    let stages = text
        .split(',')
        .map(|part| {
            let (rate, seconds) =
                part.split_once(':').ok_or_else(|| Fault(format!("{part}: RATE:SECONDS")))?;
            let stage =
                Stage { rate: number(rate, "stages")?, seconds: number(seconds, "stages")? };
            let is_sane = (0.0..=10e6).contains(&stage.rate) && stage.seconds > 0.0;
            if is_sane {
                Ok(stage)
            } else {
                Err(Fault(format!("--stages: {part}")))
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let seconds: f64 = stages.iter().map(|stage| stage.seconds).sum();
    if stages.len() > STAGES_MAX || !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(Fault(format!("--stages: {STAGES_MAX} stages and {SECONDS_MAX} s at most")));
    }
    Ok(stages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Arguments, Fault> {
        Arguments::parse(text.split_whitespace().map(str::to_owned))
    }

    const LEAST: &str = "--requests r --stages 100:1,0:2.5";

    #[test]
    fn what_is_said_is_taken() {
        let arguments = parsed(&format!("--target 127.0.0.1:80 {LEAST} --mode close")).unwrap();
        assert_eq!(arguments.mode, Mode::Close);
        assert_eq!(arguments.connections, 64);
        let last = Stage { rate: 0.0, seconds: 2.5 };
        assert_eq!(arguments.stages.last(), Some(&last));
        assert!(arguments.ids.is_none());
    }

    #[test]
    fn only_this_machine_is_loaded() {
        for target in ["192.0.2.1:80", "0.0.0.0:80", "10.0.0.1:80", "[2001:db8::1]:80"] {
            assert!(parsed(&format!("--target {target} {LEAST}")).is_err());
        }
    }

    #[test]
    fn what_is_unknown_missing_or_absurd_is_refused() {
        for rest in ["--what 1", "--mode half", "--connections 0", "--connections 20001", "--seed"]
        {
            assert!(parsed(&format!("--target 127.0.0.1:80 {LEAST} {rest}")).is_err(), "{rest}");
        }
        for stages in ["1", "1:0", "-1:1", "1:3601", "nan:1", "1:nan"] {
            let line = format!("--target 127.0.0.1:80 --requests r --stages {stages}");
            assert!(parsed(&line).is_err(), "{stages}");
        }
        assert!(parsed("--target 127.0.0.1:80 --requests r").is_err());
    }
}
