//! Work in the background: a new base when much has changed, and graphs over large sets of vectors.

use super::{Inner, State};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use tokio::sync::oneshot;

impl Inner {
    /// Begins what the present state needs: a new base where much has changed, else the graphs that its base lacks.
    pub(super) fn tend(self: &Arc<Self>) {
        let state = self.current();
        if state.is_worn(self.shared.tuning.wear) {
            self.rebuild(&state);
        } else {
            self.build_graphs(&state);
        }
    }

    /// Puts all layers into one, with its graphs, on a thread of its own. Searches and following go on meanwhile; what
    /// changed until it is done is followed from there. The work ends early when nobody wants it any more: the retriever
    /// is gone, or was built from the store anew.
    fn rebuild(self: &Arc<Self>, state: &Arc<State>) {
        if self.rebuilding.swap(true, Ordering::AcqRel) {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        let epoch = self.epoch.load(Ordering::Acquire);
        let (shared, state, inner) = (self.shared.clone(), state.clone(), Arc::downgrade(self));
        let work = {
            let inner = inner.clone();
            move || {
                let wanted = || is_current(&inner, epoch);
                let merged = shared.base_pool.install(|| state.merged(shared.dim()));
                let merged = merged.map(|layer| State {
                    from_snapshot: state.from_snapshot,
                    build_ms: state.build_ms,
                    ..State::of(state.edition.clone(), layer)
                });
                drop(state);
                if let Ok(state) = &merged {
                    let settings = shared.graph_settings();
                    let layer = &state.layers[0].layer;
                    layer.build_graphs(shared.tuning.exact_vectors, settings, &shared.base_pool, &wanted);
                    if wanted() {
                        state.save(&shared.snapshots);
                    }
                }
                // Where the receiver is gone, so is the retriever.
                let _ = sender.send(merged);
            }
        };
        tokio::spawn(async move {
            let merged = receiver.await;
            let Some(inner) = inner.upgrade() else { return };
            let adopted = match merged {
                Ok(Ok(state)) => inner.adopt(state, epoch).await,
                Ok(Err(error)) => Err(error),
                // The thread ended early, or was never there: said where it was to be started.
                Err(_) => Ok(()),
            };
            inner.rebuilding.store(false, Ordering::Release);
            match adopted {
                Ok(()) => inner.tend(),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no new base for the index; the old one serves on"
                ),
            }
        });
        if let Err(error) = std::thread::Builder::new().name("index-rebuild".to_owned()).spawn(work) {
            tracing::warn!(%error, "no thread to make a new base; the search grows slower with each change");
        }
    }

    /// Puts a new base in place, with what changed since it was begun.
    async fn adopt(&self, base: State, epoch: u64) -> Result<(), super::RetrievalError> {
        let _one_at_a_time = self.refreshing.lock().await;
        if self.epoch.load(Ordering::Acquire) != epoch {
            return Ok(());
        }
        let shared = &self.shared;
        // Where too much has changed meanwhile, the present state goes on and is rebuilt as it is then.
        if let Some(state) = base.followed(&shared.vectors, &shared.follow_pool).await? {
            self.set(state);
        }
        Ok(())
    }

    /// Builds graphs over large sets of the base's vectors on a thread of its own. The exact index serves until they are
    /// there. The work ends early when the base is no longer used.
    fn build_graphs(self: &Arc<Self>, state: &State) {
        let base = &state.layers[0].layer;
        if !self.follows || !base.lacks_graphs(self.shared.tuning.exact_vectors) {
            return;
        }
        let mut begun = self.graphs_of.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.as_ptr() == Arc::as_ptr(base) {
            return;
        }
        *begun = Arc::downgrade(base);
        let (shared, base) = (self.shared.clone(), begun.clone());
        drop(begun);
        let work = move || {
            // One owner is this thread; the states that use the base are the others.
            let Some(layer) = base.upgrade() else { return };
            let wanted = || Arc::strong_count(&layer) > 1;
            layer.build_graphs(
                shared.tuning.exact_vectors,
                shared.graph_settings(),
                &shared.base_pool,
                &wanted,
            );
        };
        if let Err(error) = std::thread::Builder::new().name("index-graph".to_owned()).spawn(work) {
            tracing::warn!(%error, "no thread to build the graph; the search stays exact and slower");
        }
    }
}

fn is_current(inner: &Weak<Inner>, epoch: u64) -> bool {
    inner
        .upgrade()
        .is_some_and(|inner| inner.epoch.load(Ordering::Acquire) == epoch)
}
