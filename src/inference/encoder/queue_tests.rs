#![allow(clippy::unwrap_used)]
use super::*;
use std::sync::Arc;

type Receiver = oneshot::Receiver<Result<Vec<f32>, InferenceError>>;

fn texts(lengths: &[usize]) -> Vec<Vec<u32>> {
    lengths.iter().map(|n| vec![*n as u32; *n]).collect()
}

/// The first id and the length of each text.
fn describe(texts: &[Vec<u32>]) -> Vec<f32> {
    texts.iter().flat_map(|t| [t[0] as f32, t.len() as f32]).collect()
}

/// Serves what waits: the lanes and sizes of the slices, in order.
fn serve_all(queue: &Queue<Vec<u32>>) -> Vec<(Lane, usize)> {
    let mut slices = Vec::new();
    while {
        let mut state = queue.lock();
        state.express.forget_dropped();
        state.bulk.forget_dropped();
        !(state.express.jobs.is_empty() && state.bulk.jobs.is_empty())
    } {
        let (lane, slice) = queue.next_slice().unwrap();
        slices.push((lane, slice.len()));
        queue.finish(lane, &slice, Ok(describe(&slice)), Duration::from_millis(80));
    }
    slices
}

fn answer(mut receiver: Receiver) -> Result<Vec<f32>, InferenceError> {
    receiver.try_recv().unwrap()
}

#[test]
fn requests_are_computed_together_and_answered_apart() {
    let queue = Queue::new(10, 4096);
    let a = queue.push(Lane::Express, texts(&[3, 5])).unwrap();
    let b = queue.push(Lane::Express, texts(&[7])).unwrap();
    assert_eq!(serve_all(&queue), [(Lane::Express, 3)]);
    assert_eq!(answer(a).unwrap(), [3.0, 3.0, 5.0, 5.0]);
    assert_eq!(answer(b).unwrap(), [7.0, 7.0]);
}

#[test]
fn a_large_request_is_cut_and_a_question_goes_between() {
    let queue = Queue::new(100, 4096);
    let import = queue.push(Lane::Bulk, texts(&[200; 9])).unwrap();
    let (lane, slice) = queue.next_slice().unwrap();
    assert_eq!((lane, slice.len()), (Lane::Bulk, 2));
    let question = queue.push(Lane::Express, texts(&[14])).unwrap();
    queue.finish(lane, &slice, Ok(describe(&slice)), Duration::from_millis(80));
    assert_eq!(serve_all(&queue)[0], (Lane::Express, 1));
    assert_eq!(answer(question).unwrap(), [14.0, 14.0]);
    assert_eq!(answer(import).unwrap(), [200.0; 18]);
}

#[test]
fn a_long_request_takes_turns_with_those_behind_it() {
    let queue = Queue::new(100, 4096);
    let long = queue.push(Lane::Express, texts(&[400; 6])).unwrap();
    let second = queue.push(Lane::Express, texts(&[300, 301])).unwrap();
    let third = queue.push(Lane::Express, texts(&[20])).unwrap();
    // A slice has 512 tokens: one text of the long request; then one of the second; then the third with another of the
    // long one, which is next.
    let sizes: Vec<usize> = serve_all(&queue).into_iter().map(|(_, texts)| texts).collect();
    assert_eq!(sizes, [1, 1, 2, 1, 1, 1, 1, 1]);
    assert_eq!(answer(third).unwrap(), [20.0, 20.0]);
    assert_eq!(answer(second).unwrap(), [300.0, 300.0, 301.0, 301.0]);
    assert_eq!(answer(long).unwrap(), [400.0; 12]);
}

#[test]
fn slices_follow_the_speed_and_keep_the_limit() {
    let queue = Queue::new(1000, 1000);
    let _import = queue.push(Lane::Bulk, texts(&[100; 400])).unwrap();
    for _ in 0..20 {
        let (lane, slice) = queue.next_slice().unwrap();
        queue.finish(lane, &slice, Ok(describe(&slice)), Duration::from_millis(1));
    }
    assert_eq!(queue.next_slice().unwrap().1.len(), 10);
}

#[test]
fn a_text_longer_than_a_slice_is_computed_alone() {
    let queue = Queue::new(10, 4);
    let a = queue.push(Lane::Express, texts(&[9, 2])).unwrap();
    assert_eq!(serve_all(&queue), [(Lane::Express, 1), (Lane::Express, 1)]);
    assert_eq!(answer(a).unwrap(), [9.0, 9.0, 2.0, 2.0]);
}

#[test]
fn a_full_lane_says_overloaded_and_the_other_still_takes() {
    let queue = Queue::new(4, 4096);
    let _a = queue.push(Lane::Bulk, texts(&[5; 6])).unwrap(); // longer than the lane, but the lane was empty
    let full = queue.push(Lane::Bulk, texts(&[5])).unwrap_err();
    assert!(matches!(full, InferenceError::Overloaded { queued: 1, retry_after } if retry_after.as_secs() >= 1));
    let _b = queue.push(Lane::Express, texts(&[5; 4])).unwrap();
    assert!(matches!(
        queue.push(Lane::Express, texts(&[5])),
        Err(InferenceError::Overloaded { .. })
    ));
}

#[test]
fn dropped_requests_make_room_and_are_not_computed() {
    let queue = Queue::new(4, 4096);
    let gone = queue.push(Lane::Express, texts(&[1, 1, 1])).unwrap();
    drop(gone);
    let kept = queue.push(Lane::Express, texts(&[2, 2])).unwrap();
    assert_eq!(serve_all(&queue), [(Lane::Express, 2)]);
    assert_eq!(answer(kept).unwrap(), [2.0; 4]);
}

#[test]
fn a_request_dropped_half_way_does_not_shift_the_others() {
    let queue = Queue::new(100, 512);
    let gone = queue.push(Lane::Bulk, texts(&[500, 400])).unwrap();
    let kept = queue.push(Lane::Bulk, texts(&[50, 60])).unwrap();
    let (lane, slice) = queue.next_slice().unwrap();
    drop(gone);
    // Looks for room, and so at dropped requests, while the slice is under way.
    assert!(queue.push(Lane::Bulk, texts(&[1; 100])).is_err());
    queue.finish(lane, &slice, Ok(describe(&slice)), Duration::from_millis(80));
    assert_eq!(serve_all(&queue), [(Lane::Bulk, 2)]);
    assert_eq!(answer(kept).unwrap(), [50.0, 50.0, 60.0, 60.0]);
}

#[test]
fn an_import_advances_under_a_stream_of_questions() {
    let queue = Queue::new(100, 4096);
    let _import = queue.push(Lane::Bulk, texts(&[10])).unwrap();
    let mut questions = 0;
    loop {
        let _question = queue.push(Lane::Express, texts(&[10])).unwrap();
        let (lane, slice) = queue.next_slice().unwrap();
        queue.finish(lane, &slice, Ok(describe(&slice)), Duration::from_millis(1));
        if lane == Lane::Bulk {
            break;
        }
        questions += 1;
    }
    assert_eq!(questions, EXPRESS_IN_A_ROW);
}

#[test]
fn closing_answers_what_waits() {
    let queue = Queue::new(4, 4096);
    let mut waits = queue.push(Lane::Express, texts(&[1])).unwrap();
    queue.close();
    assert!(waits.try_recv().is_err());
    assert!(matches!(
        queue.push(Lane::Express, texts(&[1])),
        Err(InferenceError::Stopped)
    ));
    assert!(queue.next_slice().is_none());
}

#[test]
fn a_panic_stops_the_embedder_and_tells_everyone() {
    let queue = Arc::new(Queue::new(8, 1));
    let first = queue.push(Lane::Express, texts(&[1])).unwrap();
    let second = queue.push(Lane::Express, texts(&[2])).unwrap();
    queue.serve(|_| panic!("a broken kernel"));
    assert!(first.blocking_recv().is_err());
    assert!(second.blocking_recv().is_err());
    assert!(matches!(
        queue.push(Lane::Express, texts(&[1])),
        Err(InferenceError::Stopped)
    ));
}

#[test]
fn an_error_goes_to_the_slice_alone() {
    let queue = Queue::new(8, 1);
    let first = queue.push(Lane::Express, texts(&[1])).unwrap();
    let second = queue.push(Lane::Express, texts(&[2])).unwrap();
    let (lane, slice) = queue.next_slice().unwrap();
    let error = InferenceError::BadModel {
        path: "m".into(),
        detail: "d".into(),
    };
    queue.finish(lane, &slice, Err(error), Duration::from_millis(1));
    assert!(matches!(answer(first), Err(InferenceError::BadModel { .. })));
    assert_eq!(serve_all(&queue), [(Lane::Express, 1)]);
    assert_eq!(answer(second).unwrap(), [2.0, 2.0]);
}
