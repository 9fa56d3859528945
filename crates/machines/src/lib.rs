//! One machine at a time: reach it, know it, configure it, take the configuration off again.
