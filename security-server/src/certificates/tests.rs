use std::time::Duration;

use jibek_certs::Clock;
use jibek_dev_pki::Fault;

use super::*;
use crate::testing::{Country, Server};

mod batches;

struct Scene {
    country: Country,
    server: Server,
    other: Server,
    metrics: Metrics,
    certificates: Arc<Certificates>,
}

impl Scene {
    async fn new() -> Self {
        let country = Country::new().await;
        let server = country.server("KG/GOV/1/ss1", "127.0.0.1", &[]);
        let other = country.server("KG/GOV/2/ss2", "127.0.0.2", &[]);
        country.snapshot(&[&server]);
        let metrics = Metrics::new();
        Self {
            certificates: Certificates::new(metrics.clone()),
            metrics,
            country,
            server,
            other,
        }
    }

    fn answer(&self, fault: Fault) -> OcspResponse {
        let pki = &self.country.pki;
        let leaf = self.leaf();
        let request = jibek_certs::ocsp::request_der(&leaf, pki.issuing_ca());
        let answer = pki.answer_ocsp(&request, self.country.clock.now(), fault);
        OcspResponse::parse(answer).unwrap()
    }

    fn leaf(&self) -> Certificate {
        let keys = self.server.ring.current();
        keys.auth().unwrap().certificate().clone()
    }

    fn judge(&self, conf: &Snapshot, responses: &[OcspResponse]) -> Result<(), CertError> {
        self.ask(conf, responses, &[], None)
    }

    fn ask(
        &self,
        conf: &Snapshot,
        responses: &[OcspResponse],
        extra: &[Certificate],
        anchor: Option<&ApprovedCa>,
    ) -> Result<(), CertError> {
        let leaf = self.leaf();
        let question = Question {
            leaf: &leaf,
            extra,
            instance: "KG",
            authorities: conf.authorities("KG").unwrap(),
            anchor,
            responses,
        };
        let now = self.country.clock.now();
        self.certificates.judge(&question, conf, now).map(drop)
    }

    /// Verified, remembered and refused so far.
    fn counts(&self) -> [u32; 3] {
        let page = self.metrics.render();
        ["verified", "remembered", "refused"].map(|outcome| {
            let name = format!("jibek_peer_checks_total{{outcome=\"{outcome}\"}} ");
            page.lines()
                .find_map(|line| line.strip_prefix(&name)?.parse().ok())
                .unwrap_or_default()
        })
    }
}

#[tokio::test]
async fn one_question_is_verified_once() {
    let scene = Scene::new().await;
    let conf = scene.country.snapshot(&[&scene.server]).load_full();
    let good = scene.answer(Fault::None);
    for asked in 0..5 {
        scene.judge(&conf, std::slice::from_ref(&good)).unwrap();
        assert_eq!(scene.counts(), [1, asked, 0]);
    }
}

#[tokio::test]
async fn whatever_it_rests_on_makes_it_another_question() {
    let scene = Scene::new().await;
    let conf = scene.country.snapshot(&[&scene.server]).load_full();
    let good = [scene.answer(Fault::None)];
    scene.judge(&conf, &good).unwrap();
    assert_eq!(scene.counts(), [1, 0, 0]);

    // Another path.
    let issuing = scene.country.pki.issuing_ca().clone();
    let extra = [issuing.clone()];
    scene.ask(&conf, &good, &extra, None).unwrap();
    assert_eq!(scene.counts(), [2, 0, 0]);
    let authorities = conf.authorities("KG").unwrap();
    let anchor = authorities.by_subject(issuing.subject()).next().unwrap();
    scene.ask(&conf, &good, &[], Some(anchor)).unwrap();
    assert_eq!(scene.counts(), [3, 0, 0]);

    // Another configuration, even if it says the same of this certificate.
    let newer = scene.country.snapshot(&[&scene.server, &scene.other]);
    scene.judge(&newer.load_full(), &good).unwrap();
    assert_eq!(scene.counts(), [4, 0, 0]);

    // Another answer: newer, or a no. A no is never remembered, and a yes before it counts for itself alone.
    scene.country.clock.advance(Duration::from_secs(60));
    scene.judge(&conf, &[scene.answer(Fault::None)]).unwrap();
    assert_eq!(scene.counts(), [5, 0, 0]);
    for refused in 1..=2 {
        let revoked = [scene.answer(Fault::Revoked)];
        scene.judge(&conf, &revoked).unwrap_err();
        scene.judge(&conf, &[]).unwrap_err();
        assert_eq!(scene.counts(), [5, 0, refused * 2]);
    }
    scene.judge(&conf, &good).unwrap();
    assert_eq!(scene.counts(), [5, 1, 4]);
}

#[tokio::test]
async fn it_ends_with_the_first_thing_that_ends() {
    let scene = Scene::new().await;
    let conf = scene.country.snapshot(&[&scene.server]).load_full();
    let good = [scene.answer(Fault::None)];
    scene.judge(&conf, &good).unwrap();
    scene.country.clock.advance(Duration::from_secs(3500));
    scene.judge(&conf, &good).unwrap();
    assert_eq!(scene.counts(), [1, 1, 0]);
    // OCSP answers are fresh for an hour.
    scene.country.clock.advance(Duration::from_secs(101));
    let stale = scene.judge(&conf, &good).unwrap_err();
    assert!(matches!(stale, CertError::Ocsp { .. }), "{stale}");
    assert_eq!(scene.counts(), [1, 1, 1]);
    // A clock that was put back has seen nothing yet.
    let again = scene.country.clock.now() - Duration::from_secs(4000);
    scene.country.clock.set(again);
    scene.judge(&conf, &good).unwrap();
    assert_eq!(scene.counts(), [2, 1, 1]);
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let scene = Scene::new().await;
    let conf = scene.country.snapshot(&[&scene.server]).load_full();
    let good = [scene.answer(Fault::None)];
    let now = scene.country.clock.now();
    let leaf = scene.leaf();
    let question = Question {
        leaf: &leaf,
        extra: &[],
        instance: "KG",
        authorities: conf.authorities("KG").unwrap(),
        anchor: None,
        responses: &good,
    };
    let verified = question.verify(&conf, now).unwrap();
    let kept = || scene.certificates.good.lock().unwrap().len();
    for number in 0..3 * u16::try_from(MOST_KEPT).unwrap() {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        scene.certificates.remember(key, &verified, now);
        assert!(kept() <= MOST_KEPT);
    }
    // What has ended makes room first.
    scene.certificates.good.lock().unwrap().clear();
    for number in 0..u16::try_from(MOST_KEPT).unwrap() {
        let mut key = [1; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        scene.certificates.remember(key, &verified, now);
    }
    let later = verified.valid_until() + Duration::from_secs(1);
    scene.certificates.remember([2; 32], &verified, later);
    assert_eq!(kept(), 1);
}
