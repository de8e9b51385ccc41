//! What comes over everyone: outages, storms of tags, a store that is cleared or switched off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep;

use crate::arena::{Arena, Kind, Weather, World};
use crate::floors::Reach;
use crate::functions::{GROUPS, KEYS, group_tag, key_tag};
use crate::ledger::Count;
use crate::random::Random;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Makes the weather in these arenas until it is time to stop. Says how many outages and storms there were.
pub(crate) async fn make(world: Arc<World>, arenas: Vec<Arc<Arena>>) -> (u64, u64) {
    let mut random = Random::new(world.seed, u64::MAX);
    let (mut outages, mut storms) = (0, 0);
    while !world.is_over() {
        match random.below(10) {
            0..5 => sleep(ms(20 + random.below(200))).await,
            5 => {
                outages += 1;
                world.turn(Weather::Outage);
                sleep(ms(100 + random.below(500))).await;
                world.turn(Weather::Fair);
            }
            6..8 => {
                storms += 1;
                storm(&arenas, &mut random).await;
            }
            8 => clear(&arenas, &mut random).await,
            _ => bypass(&arenas, &mut random).await,
        }
    }
    (outages, storms)
}

/// Invalidates tags, one after the other, and many that nothing bears: the store remembers so many and no more.
async fn storm(arenas: &[Arc<Arena>], random: &mut Random) {
    let end = Instant::now() + ms(20 + random.below(150));
    while Instant::now() < end {
        let arena = random.pick(&arenas.iter().collect::<Vec<_>>());
        let (group, key) = (random.below(GROUPS.into()), random.below(KEYS.into()));
        let (group, key) = (u16::try_from(group).unwrap_or_default(), u16::try_from(key).unwrap_or_default());
        let number = arena.world.tick();
        let (tag, reach) = match random.below(10) {
            0 => ("all".to_owned(), Reach::All),
            1..4 => (group_tag(group), Reach::Group(group)),
            _ => (key_tag(key), Reach::Key(key)),
        };
        arena.store.invalidate_tag(tag).await;
        arena.floors.raise(reach, number);
        arena.ledger.count(Count::TagInvalidations);
        // Now and then enough to make it forget all others.
        let noise = if random.below(100) == 0 { 20_000 } else { random.below(60) };
        for _ in 0..noise {
            arena.store.invalidate_tag(format!("noise:{}", random.next())).await;
            arena.ledger.count(Count::NoiseTags);
        }
        if random.below(8) == 0 {
            sleep(ms(1)).await;
        } else {
            yield_now().await;
        }
    }
}

async fn clear(arenas: &[Arc<Arena>], random: &mut Random) {
    let arena = random.pick(&arenas.iter().collect::<Vec<_>>());
    let number = arena.world.tick();
    arena.store.clear().await;
    arena.floors.raise(Reach::Everything, number);
    arena.ledger.count(Count::Clears);
}

async fn bypass(arenas: &[Arc<Arena>], random: &mut Random) {
    for arena in arenas.iter().filter(|arena| arena.kind == Kind::Bypassed) {
        arena.store.bypass(true);
        arena.ledger.count(Count::Bypasses);
        sleep(ms(random.below(40))).await;
        arena.store.bypass(false);
    }
}
