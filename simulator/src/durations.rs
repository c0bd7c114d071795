//! How long AWS's processes take, in seconds at latency scale 1: the least and the most.
//!
//! Only these shrink with `--latency-scale`. Throttle buckets, cooldowns and how long terminated instances stay
//! visible are in wall time, for clients compare them with their own clock.

/// Seconds, from least to most.
pub type Span = (f64, f64);

/// `pending` to `running`.
pub const LAUNCH: Span = (8.0, 15.0);
/// `stopping` to `stopped`.
pub const STOP: Span = (20.0, 40.0);
/// `shutting-down` to `terminated`.
pub const TERMINATE: Span = (25.0, 45.0);
/// From `running` to passed status checks.
pub const STATUS_CHECKS: Span = (60.0, 120.0);
/// From `running` until EC2 captures the console by itself.
pub const CONSOLE_CAPTURE: Span = (150.0, 240.0);
/// `creating` to `available`.
pub const VOLUME_CREATE: Span = (2.0, 5.0);
/// `attaching` to `attached`.
pub const ATTACH: Span = (2.0, 4.0);
/// `detaching` to detached.
pub const DETACH: Span = (3.0, 6.0);
/// `deleting` to gone.
pub const VOLUME_DELETE: Span = (2.0, 5.0);
/// A snapshot, from 0% to 100%.
pub const SNAPSHOT: Span = (30.0, 60.0);
/// From the last snapshot's completion to an image's `available`.
pub const IMAGE: Span = (5.0, 15.0);
/// An image copied from another region or re-encrypted: its snapshots.
pub const COPY: Span = (120.0, 240.0);
/// From a copy's call to the moment its key is found wanting.
pub const KEY_VALIDATION: Span = (5.0, 10.0);
/// From deregistration until the image's name is free again.
pub const NAME_RELEASE: Span = (5.0, 10.0);
/// From a create to the moment at which every describe shows it.
pub const VISIBILITY: Span = (0.05, 0.5);

/// Wall time for which a terminated instance is still described.
pub const TERMINATED_VISIBLE_SECONDS: i64 = 3600;
/// Wall time for which protection with cooldown outlives its disabling.
pub const PROTECTION_COOLDOWN_SECONDS: i64 = 24 * 3600;
/// Wall time after which a launch shows in its image's last-launched time.
pub const LAST_LAUNCHED_DELAY_SECONDS: i64 = 24 * 3600;
/// Wall time that must lie between two snapshots in progress of one volume.
pub const SNAPSHOT_INTERVAL_SECONDS: i64 = 15;
