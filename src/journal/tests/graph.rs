//! A Graph of raw bytes: it grants every token and answers a hang-up when it is told to.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use tokio::sync::mpsc;

/// Graph and its login on the wire: every login succeeds, every hang-up waits for its answer.
pub(super) struct Graph {
    pub(super) url: String,
    arrived: mpsc::UnboundedReceiver<String>,
    answers: Arc<(Mutex<VecDeque<&'static str>>, Condvar)>,
}

impl Graph {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, arrived) = mpsc::unbounded_channel();
        let answers = Arc::new((Mutex::default(), Condvar::new()));
        let given = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (sender, given) = (sender.clone(), Arc::clone(&given));
                std::thread::spawn(move || talk(stream.unwrap(), &sender, &given));
            }
        });
        Self { url, arrived, answers }
    }

    /// The id of the call in the next request to hang up.
    pub(super) async fn next(&mut self) -> String {
        self.arrived.recv().await.unwrap()
    }

    /// Answers one request, the one that has waited longest.
    pub(super) fn answer(&self, head: &'static str) {
        self.answers.0.lock().unwrap().push_back(head);
        self.answers.1.notify_one();
    }
}

fn talk(
    mut stream: TcpStream,
    arrived: &mpsc::UnboundedSender<String>,
    answers: &(Mutex<VecDeque<&'static str>>, Condvar),
) -> Option<()> {
    loop {
        let request = read_request(&mut stream)?;
        if request.starts_with("POST") {
            let body = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"FAKE"}"#;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).ok()?;
            continue;
        }
        let path = request.split(' ').nth(1)?;
        arrived.send(path.rsplit('/').next()?.to_owned()).ok()?;
        let answer = {
            let waiting = answers.0.lock().unwrap();
            answers.1.wait_while(waiting, |answers| answers.is_empty()).unwrap().pop_front()?
        };
        stream
            .write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes())
            .ok()?;
    }
}

/// A request whose body, if it has one, arrives with its head's last bytes or behind them.
pub(super) fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text.into_owned());
            }
        }
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&buffer[..count]);
    }
}
