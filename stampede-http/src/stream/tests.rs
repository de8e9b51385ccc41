use super::*;

fn poll(cursor: &mut Cursor) -> Poll<Next> {
    cursor.poll_next(&Context::from_waker(Waker::noop()))
}

fn room(stream: &Stream) -> Room {
    stream.room(&Context::from_waker(Waker::noop()))
}

#[test]
fn one_who_waits_for_bytes_far_ahead_is_held_up_too() {
    let stream = Arc::new(Stream::new(100));
    let _slow = stream.read_from(0).expect("a place");
    let mut ahead = stream.read_from(0).expect("a place");
    ahead.seek(1000);
    stream.push(Bytes::from(vec![0; 200]));
    assert_eq!(room(&stream), Room::Full);
    assert!(poll(&mut ahead).is_pending());
    assert_eq!(room(&stream), Room::HeldUp);
}

#[test]
fn many_small_chunks_become_one_and_readers_find_their_place_in_it() {
    let stream = Arc::new(Stream::new(100_000));
    let mut readers: Vec<_> = (0..3).map(|_| (stream.read_from(0).expect("a place"), Vec::new())).collect();
    let mut all = Vec::new();
    for n in 0..=255_u8 {
        stream.push(Bytes::from(vec![n; 3]));
        all.extend([n; 3]);
        // One reads along, one now and then, one in the end.
        for (cursor, read) in &mut readers[..if n % 50 == 0 { 2 } else { 1 }] {
            while let Poll::Ready(Next::Bytes(bytes)) = poll(cursor) {
                read.extend_from_slice(&bytes);
            }
        }
    }
    assert_eq!(stream.cost(), 256 * 3 + 4 * OVERHEAD);
    stream.end(Ok(None));
    for (cursor, read) in &mut readers {
        while let Poll::Ready(Next::Bytes(bytes)) = poll(cursor) {
            read.extend_from_slice(&bytes);
        }
        assert_eq!(*read, all);
    }
}

#[test]
fn what_has_been_let_go_is_not_put_together() {
    let stream = Arc::new(Stream::new(1));
    let mut reader = stream.read_from(0).expect("a place");
    for n in 0..200_u8 {
        stream.push(Bytes::from(vec![n]));
        let Poll::Ready(Next::Bytes(bytes)) = poll(&mut reader) else { panic!("bytes") };
        assert_eq!(&*bytes, [n]);
    }
    assert!(stream.cost() <= 1 + OVERHEAD);
}

/// The end moves the bytes, under the eyes of those who read them.
#[test]
fn whoever_reads_while_the_body_ends_gets_all_of_it() {
    for round in 0..500_u64 {
        let stream = Arc::new(Stream::new(100_000));
        let reader = std::thread::spawn({
            let mut cursor = stream.read_from(0).expect("a place");
            let stream = Arc::clone(&stream);
            move || {
                let mut read = 0;
                loop {
                    match poll(&mut cursor) {
                        Poll::Ready(Next::Bytes(bytes)) => read += bytes.len(),
                        Poll::Ready(Next::End(_)) => break,
                        Poll::Ready(Next::Failed(error)) => panic!("{error}"),
                        Poll::Pending => std::thread::yield_now(),
                    }
                    assert!(stream.read_from(0).is_some());
                }
                read
            }
        });
        for _ in 0..round % 7 {
            stream.push(Bytes::from(vec![0; 2000]));
        }
        stream.end(Ok(None));
        assert_eq!(reader.join().expect("all of it") as u64, round % 7 * 2000);
    }
}
