//! State that belongs to one process: after fork() the child makes its own and never touches its parent's.
//!
//! A lock that another thread held at the fork stays locked in the child for ever, and the parent's threads do not exist
//! there. So the value is found without any lock, in a list that only grows, each link set by one compare-and-swap.

use std::sync::{Mutex, MutexGuard, PoisonError};

use once_cell::race::OnceBox;

/// One `T` a process.
pub(crate) struct PerProcess<T> {
    first: OnceBox<Node<T>>,
}

struct Node<T> {
    pid: u32,
    value: T,
    next: OnceBox<Node<T>>,
}

impl<T: Default> PerProcess<T> {
    /// Nothing yet: the value is made at its first use.
    pub(crate) const fn new() -> Self {
        Self { first: OnceBox::new() }
    }

    /// This process's value.
    pub(crate) fn get(&self) -> &T {
        self.get_as(std::process::id())
    }

    /// Only the last node counts: an earlier one with this process's number is a dead ancestor's.
    fn get_as(&self, pid: u32) -> &T {
        let mut slot = &self.first;
        loop {
            let node = slot.get_or_init(|| Box::new(Node { pid, value: T::default(), next: OnceBox::new() }));
            if node.pid == pid && node.next.get().is_none() {
                return &node.value;
            }
            slot = &node.next;
        }
    }
}

/// A lock that a panic elsewhere does not take away: the data behind this program's locks is whole between any two lines.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_has_its_own_value_even_while_the_parents_is_locked() {
        static STATE: PerProcess<Mutex<u32>> = PerProcess::new();
        let held = STATE.get_as(1).lock().unwrap();
        *STATE.get_as(2).lock().unwrap() = 7;
        assert_eq!(*STATE.get_as(2).lock().unwrap(), 7);
        assert_eq!(*held, 0);
    }

    #[test]
    fn a_number_that_comes_round_again_is_a_new_process() {
        static STATE: PerProcess<Mutex<u32>> = PerProcess::new();
        *STATE.get_as(1).lock().unwrap() = 5;
        *STATE.get_as(2).lock().unwrap() = 6;
        assert_eq!(*STATE.get_as(1).lock().unwrap(), 0);
    }
}
