//! What people see who take conversations over: the queue, conversations with what happened, and customers.

pub(crate) mod conversations;
pub(crate) mod customers;
