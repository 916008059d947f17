use futures::future::join_all;

use crate::{
    settings::Settings,
    testing::{Site, settings},
};

#[tokio::test]
async fn a_flood_of_one_address_does_not_slow_others() {
    let site = Site::with(Settings { address_rate: 2, ..settings() }).await;
    let flood = join_all((0..200).map(|_| site.get_from("192.0.2.1", "/recent")));
    let others = join_all((2..12).map(|n| {
        let site = &site;
        async move { site.get_from(&format!("192.0.2.{n}"), "/recent").await }
    }));
    let (flood, others) = tokio::join!(flood, others);
    assert!(others.iter().all(|answer| answer.status == 200));
    let answered = flood.iter().filter(|answer| answer.status == 200).count();
    assert!((1..=25).contains(&answered), "{answered}");
    let refused = flood.iter().find(|answer| answer.status == 429).unwrap();
    assert!(refused.header("retry-after").parse::<i64>().unwrap() >= 1);
    assert!(refused.text().contains("Too fast"));
    let problem = site.get_from("192.0.2.1", "/api/v1/results").await;
    assert_eq!((problem.status.as_u16(), problem.header("content-type")), (429, "application/problem+json"));
    // This machine's own programs go on.
    assert!(join_all((0..50).map(|_| site.get("/recent"))).await.iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn whom_a_proxy_names_is_who_asks() {
    let proxies = vec!["10.0.0.1".parse().unwrap()];
    let site = Site::with(Settings { address_rate: 1, trusted_proxies: proxies, ..settings() }).await;
    let ask = async |client: &str| {
        let request = axum::http::Request::builder()
            .uri("/packages")
            .header("x-forwarded-for", client)
            .extension(axum::extract::ConnectInfo(std::net::SocketAddr::from(([10, 0, 0, 1], 9))));
        site.ask(request.body(axum::body::Body::empty()).unwrap()).await.status.as_u16()
    };
    let mut statuses = Vec::new();
    for _ in 0..15 {
        statuses.push(ask("192.0.2.1").await);
    }
    assert_eq!((statuses[0], statuses[14]), (200, 429));
    assert_eq!(ask("192.0.2.2").await, 200);
}
