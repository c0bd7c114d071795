//! The faults that are planted, as what is written in their place. A place that is not there any more fails the tests.

mod builds;
mod launches;
mod objects;
mod proofs;
mod reads;
mod upkeep;

/// A fault.
pub struct Mutant {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is wrong with it.
    pub fault: &'static str,
    /// Of the plans those that find it sooner than others: a text in their names. The others follow if these do not.
    pub plans: &'static str,
    /// File, what it says (once), and what it says instead.
    pub edits: &'static [(&'static str, &'static str, &'static str)],
    /// Why no plan can find it, if none can.
    pub survives: Option<&'static str>,
}

const fn mutant(
    name: &'static str,
    fault: &'static str,
    plans: &'static str,
    edits: &'static [(&'static str, &'static str, &'static str)],
) -> Mutant {
    Mutant {
        name,
        fault,
        plans,
        edits,
        survives: None,
    }
}

/// All of them.
pub fn mutants() -> impl Iterator<Item = &'static Mutant> {
    let of_parts = [
        launches::MUTANTS,
        builds::MUTANTS,
        proofs::MUTANTS,
        upkeep::MUTANTS,
        reads::MUTANTS,
        objects::MUTANTS,
    ];
    of_parts.into_iter().flatten()
}
