//! Reading a request and rendering its answer, and reading a notification, without any I/O:
//! `cargo bench`.

use std::hint::black_box;

use callgate::measured::{Measured, notified};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BY_CALL_ID: &str = "/verba/api?action=DeleteCall&apiKey=74c8eea0-50c6-40b2-9f3e-252ed501c3c8\
    &token=09835e02-6c10-11e0-bb22-ba324924019b&callID=a8343631-9f35-4a3a-83f0-9e81592339fb";

const NOTIFICATIONS: [(&str, &[u8]); 4] = [
    ("incoming", include_bytes!("../tests/fixtures/notifications/v1-incoming-from-phone.json")),
    ("terminated", include_bytes!("../tests/fixtures/notifications/facts-v1-deleted.json")),
    ("roster", include_bytes!("../tests/fixtures/notifications/roster-whole.json")),
    ("repaired", include_bytes!("../tests/fixtures/notifications/json-lone-surrogates.json")),
];

fn request(criterion: &mut Criterion) {
    let measured = Measured::default();
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    for (name, uri) in [
        ("callID, XML", format!("{BY_CALL_ID}&responseType=XML")),
        ("callID, JSON", format!("{BY_CALL_ID}&responseType=JSON")),
        ("extension, XML", BY_CALL_ID.replace("callID=", "status=ongoing,last&extension=")),
        ("bad parameter, XML", format!("{BY_CALL_ID}&dryRun=perhaps")),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| measured.answer(black_box(&uri))));
    }
    group.finish();
}

fn notification(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("notification");
    group.throughput(Throughput::Elements(1));
    for (name, body) in NOTIFICATIONS {
        group.bench_function(name, |bencher| bencher.iter(|| notified(black_box(body))));
    }
    group.finish();
}

criterion_group!(benches, request, notification);
criterion_main!(benches);
