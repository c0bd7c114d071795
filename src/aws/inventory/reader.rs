//! One look at a region.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::answers::Answers;
use super::interests::Union;
use super::turns::Turns;
use crate::api::{Architecture, ImageSearch};
use crate::aws::{Ec2, ImageQuery};
use crate::world::{
    AccountPolicy, AwsError, ErrorClass, Image, ImageId, Installation, InstanceType, Interest, SecurityGroup, Subnet,
    View,
};

/// Source images change every few weeks, and are to be noticed within a minute; searches among a public owner's images
/// are EC2's slowest reads.
const SOURCES_LIFETIME: Duration = Duration::from_secs(29);
/// Nothing is worse for a source that is known as it was ten minutes ago, and much is for every build that stands still.
const SOURCES_PATIENCE: Duration = Duration::from_secs(600);
/// Someone who has just made the subnet that a condition asks for waits this long at most.
const NETWORK_LIFETIME: Duration = Duration::from_secs(59);
/// EC2 starts to offer a type in a region a few times a year, and practically never stops.
const INSTANCE_TYPES_LIFETIME: Duration = Duration::from_secs(3600);
const INSTANCE_TYPES_PATIENCE: Duration = Duration::from_secs(23 * 3600);
/// A search that takes long is made again after that many times as long, if that is later. Within a minute of a change it is made and answered,
/// unless it takes a quarter of one.
const SEARCH_REST: u32 = 2;
/// Nothing but another search mends one that is refused.
const REFUSED_LIFETIME: Duration = Duration::from_secs(600);
/// How long a look waits for searches. What takes longer goes on, is not waited for again, and is answered in a later view.
const SEARCHES_WAIT: Duration = Duration::from_secs(3);
/// Questions that one call asks: values that one filter may have.
const AT_ONCE: usize = 200;

/// Reads, and remembers what changes rarely.
#[derive(Debug)]
pub(super) struct Reader {
    ec2: Ec2,
    installation: Installation,
    policy: Arc<AccountPolicy>,
    network_read: Option<Instant>,
    /// None: EC2 does not know the image, or does not show it to us.
    images: Answers<ImageId, Option<Image>>,
    /// The inner error is EC2's, or ours, of the search itself.
    searches: Answers<ImageSearch, Result<Vec<Image>, AwsError>>,
    searching: JoinSet<Ended>,
    /// What `searching` is about.
    searched: Vec<Searched>,
    turns: Turns,
    /// Those for the inspector's image, which everyone waits for and no recipe's author writes: they wait for nobody.
    inspector: Vec<ImageSearch>,
    /// None: the region does not offer the type.
    instance_types: Answers<String, Option<InstanceType>>,
}

#[derive(Debug)]
struct Ended {
    search: ImageSearch,
    found: Result<Vec<Image>, AwsError>,
    took: Duration,
}

#[derive(Debug)]
struct Searched {
    search: ImageSearch,
    /// It had its turn.
    begun: Arc<AtomicBool>,
    /// A look has waited for it once.
    overdue: bool,
}

type Network = (Vec<Subnet>, Vec<SecurityGroup>, String);
type Refused<Q> = Vec<(Q, AwsError)>;

impl Reader {
    pub(super) fn new(ec2: Ec2, installation: Installation, policy: AccountPolicy, inspector: &ImageSearch) -> Self {
        Self {
            ec2,
            installation,
            policy: Arc::new(policy),
            network_read: None,
            images: Answers::new(SOURCES_LIFETIME, SOURCES_PATIENCE),
            searches: Answers::new(SOURCES_LIFETIME, SOURCES_PATIENCE),
            searching: JoinSet::new(),
            searched: Vec::new(),
            turns: Turns::new(),
            inspector: [Architecture::X86_64, Architecture::Arm64]
                .map(|architecture| inspector.for_architecture(architecture))
                .into(),
            instance_types: Answers::new(INSTANCE_TYPES_LIFETIME, INSTANCE_TYPES_PATIENCE),
        }
    }

    /// Reads what `asked` wants to know, and all that is ours. What changes rarely is taken over from `before` where it is
    /// young enough. `urgent`: something waits for the answer.
    ///
    /// # Errors
    /// When what concerns everyone could not be read. What concerns only those who ask it has its own outcome in the view.
    pub(super) async fn read(
        &mut self,
        asked: &Union,
        before: &View,
        now: Timestamp,
        urgent: bool,
    ) -> Result<View, AwsError> {
        let began = Instant::now();
        let network_young = self
            .network_read
            .is_some_and(|at| began.duration_since(at) < NETWORK_LIFETIME);
        let images_due = self.images.due(asked.images.iter(), now);
        let types_due = self.instance_types.due(asked.instance_types.iter(), now);
        let ec2 = &if urgent { self.ec2.clone() } else { self.ec2.polling() };
        self.search(asked, now);

        let installation = &self.installation;
        let (instances, volumes, snapshots, images, network, named, by_id, types) = tokio::try_join!(
            ec2.describe_instances(installation),
            ec2.describe_volumes(installation),
            ec2.describe_snapshots(installation),
            ec2.describe_images(ImageQuery::Ours(installation)),
            unless(network_young, network(ec2, &before.account_id)),
            each(&asked.names, |some| async move {
                ec2.describe_images(ImageQuery::Names(&some)).await
            }),
            each(&images_due, |some| async move {
                ec2.describe_images(ImageQuery::Ids(&some)).await
            }),
            each(
                &types_due,
                |some| async move { ec2.describe_instance_types(&some).await }
            ),
        )?;
        self.gather_searches(began + SEARCHES_WAIT, now).await;

        let (subnets, security_groups, account_id) = match network {
            Some(read) => {
                self.network_read = Some(began);
                read
            }
            None => (
                before.subnets.clone(),
                before.security_groups.clone(),
                before.account_id.clone(),
            ),
        };
        keep(&mut self.images, &images_due, by_id, now, |image, id| image.id == *id);
        keep(&mut self.instance_types, &types_due, types, now, |one, name| {
            one.name == *name
        });
        let (named_images, names_refused) = named;
        let mut view = View {
            taken: Some(now),
            account_id,
            instances,
            volumes,
            snapshots,
            images,
            named_images,
            subnets,
            security_groups,
            ..View::default()
        };
        let refused = names_refused
            .into_iter()
            .map(|(name, error)| (Interest::ImageName(name), error));
        view.unanswered.extend(refused);
        self.answer(&mut view, now);
        Ok(view)
    }

    /// Begins the searches that are due and not under way. They always give way: one of them may be as wide as its author likes.
    fn search(&mut self, asked: &Union, now: Timestamp) {
        let searches = asked.searches.iter().map(|asked| &asked.search);
        for search in self.searches.due(searches, now) {
            if self.searched.iter().any(|searched| searched.search == search) {
                continue;
            }
            let begun = Arc::new(AtomicBool::new(false));
            self.searched.push(Searched {
                search: search.clone(),
                begun: Arc::clone(&begun),
                overdue: false,
            });
            let of_recipes = !self.inspector.contains(&search);
            let place = of_recipes.then(|| self.turns.place(asked.on_account_of(&search)));
            let ec2 = self.ec2.polling();
            let (policy, installation) = (Arc::clone(&self.policy), self.installation.clone());
            self.searching.spawn(async move {
                let _turn = match place {
                    Some(place) => Some(place.turn().await),
                    None => None,
                };
                begun.store(true, Ordering::Relaxed);
                let began = Instant::now();
                let newest = |images| policy.newest(images, &installation);
                let found = ec2.search_images(&search, newest).await;
                let took = began.elapsed();
                Ended { search, found, took }
            });
        }
    }

    /// Takes the answers of searches that have come, or come until `deadline`.
    async fn gather_searches(&mut self, deadline: Instant, now: Timestamp) {
        loop {
            let ended = match self.searched.iter().all(|searched| searched.overdue) {
                true => self.searching.try_join_next(),
                false => match tokio::time::timeout_at(deadline, self.searching.join_next()).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        self.searched.iter_mut().for_each(|searched| searched.overdue = true);
                        continue;
                    }
                },
            };
            match ended {
                None => break,
                Some(Ok(ended)) => self.searched_for(ended, now),
                Some(Err(panicked)) => tracing::error!(%panicked, "a search has ended without an answer"),
            }
        }
        if self.searching.is_empty() {
            self.searched.clear();
        }
    }

    fn searched_for(&mut self, Ended { search, found, took }: Ended, now: Timestamp) {
        self.searched.retain(|searched| searched.search != search);
        match found {
            // Wrong is this search alone, and whoever wrote it is to hear of it.
            Err(error) if matches!(error.class, ErrorClass::Invalid | ErrorClass::NotFound) => {
                self.searches.put_for(&search, Ok(Err(error)), now, REFUSED_LIFETIME);
            }
            found => {
                let lifetime = SOURCES_LIFETIME.max(took.saturating_mul(SEARCH_REST));
                self.searches.put_for(&search, found.map(Ok), now, lifetime);
            }
        }
    }

    /// Puts the answers that are known into the view.
    fn answer(&self, view: &mut View, now: Timestamp) {
        for (id, answer) in self.images.known(now) {
            match answer {
                Ok(image) => view.images_by_id.extend(image.clone().map(|image| (id.clone(), image))),
                Err(error) => view.unanswered.push((Interest::Image(id.clone()), error.clone())),
            }
        }
        for (search, answer) in self.searches.known(now) {
            match answer {
                Ok(found) => view.searches.push((search.clone(), found.clone())),
                Err(error) => view.unanswered.push((Interest::Search(search.clone()), error.clone())),
            }
        }
        for Searched { search, begun, .. } in &self.searched {
            if !self.searches.known(now).any(|(known, _)| known == search) {
                let interest = Interest::Search(search.clone());
                let why = match begun.load(Ordering::Relaxed) {
                    true => "the search goes on; one for a longer part of the name takes less time",
                    false => {
                        "the search waits for its turn: others are under way, of this namespace's recipes or of others'"
                    }
                };
                view.unanswered.push((interest, no_answer(why)));
            }
        }
        for (name, answer) in self.instance_types.known(now) {
            match answer {
                Ok(offered) => view.instance_types.extend(offered.clone()),
                Err(error) => view
                    .unanswered
                    .push((Interest::InstanceType(name.clone()), error.clone())),
            }
        }
    }
}

fn no_answer(why: &str) -> AwsError {
    AwsError {
        operation: "DescribeImages",
        class: ErrorClass::NoAnswer,
        code: "NoAnswer".into(),
        message: why.into(),
        request_id: None,
    }
}

async fn unless<T>(known: bool, read: impl Future<Output = Result<T, AwsError>>) -> Result<Option<T>, AwsError> {
    if known { Ok(None) } else { read.await.map(Some) }
}

/// Asks many questions in few calls. Where AWS does not take a call for what is in it, or answers what makes no sense, its halves
/// are asked, until what is wrong stands alone.
async fn each<Q: Clone, T, F>(questions: &[Q], ask: impl Fn(Vec<Q>) -> F) -> Result<(Vec<T>, Refused<Q>), AwsError>
where
    F: Future<Output = Result<Vec<T>, AwsError>>,
{
    let mut found = Vec::new();
    let mut refused = Vec::new();
    let mut rest: Vec<Vec<Q>> = questions.chunks(AT_ONCE).map(<[Q]>::to_vec).collect();
    while let Some(some) = rest.pop() {
        match ask(some.clone()).await {
            Ok(answer) => found.extend(answer),
            Err(error) if some.len() > 1 && is_about_one(&error) => {
                let (one, other) = some.split_at(some.len() / 2);
                rest.extend([one.to_vec(), other.to_vec()]);
            }
            Err(error) => refused.extend(some.into_iter().map(|question| (question, error.clone()))),
        }
    }
    Ok((found, refused))
}

fn is_about_one(error: &AwsError) -> bool {
    matches!(
        error.class,
        ErrorClass::Invalid | ErrorClass::NotFound | ErrorClass::Gone
    ) || error.code == "MalformedAnswer"
}

/// Keeps what the questions that were due have brought.
fn keep<Q: Clone + PartialEq, T: Clone>(
    answers: &mut Answers<Q, Option<T>>,
    due: &[Q],
    (found, refused): (Vec<T>, Refused<Q>),
    now: Timestamp,
    answers_it: impl Fn(&T, &Q) -> bool,
) {
    for question in due {
        let outcome = match refused.iter().find(|(refused, _)| refused == question) {
            Some((_, error)) => Err(error.clone()),
            None => Ok(found.iter().find(|item| answers_it(item, question)).cloned()),
        };
        answers.put(question, outcome, now);
    }
}

async fn network(ec2: &Ec2, account_id: &str) -> Result<Network, AwsError> {
    let account_id = async {
        // An account keeps its number.
        if account_id.is_empty() {
            ec2.caller_account().await
        } else {
            Ok(account_id.to_owned())
        }
    };
    tokio::try_join!(ec2.describe_subnets(), ec2.describe_security_groups(), account_id)
}
