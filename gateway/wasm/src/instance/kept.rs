//! What the host keeps for an instance between its calls, by its place there: the number that the guest's handle has.

use wasmtime::Result;

/// A place is empty when what was there was dropped.
pub(crate) struct Kept<T, const MOST: usize>(Vec<Option<T>>);

impl<T, const MOST: usize> Default for Kept<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MOST: usize> Kept<T, MOST> {
    /// `what` they are, for the error if there are too many.
    pub(crate) fn add(&mut self, kept: T, what: &str) -> Result<u32> {
        let place = match self.0.iter().position(Option::is_none) {
            Some(place) => place,
            None if self.0.len() < MOST => {
                self.0.push(None);
                self.0.len() - 1
            }
            None => wasmtime::bail!("more than {MOST} {what}"),
        };
        self.0[place] = Some(kept);
        Ok(place as u32)
    }

    pub(crate) fn remove(&mut self, place: u32) {
        if let Some(kept) = self.0.get_mut(place as usize) {
            *kept = None;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    pub(crate) fn get(&self, place: u32) -> Result<&T> {
        let found = self.0.get(place as usize).and_then(Option::as_ref);
        found.ok_or_else(|| wasmtime::format_err!("a handle to what was dropped"))
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    #[test]
    fn they_are_bounded_and_a_place_is_used_again() {
        let mut kept = Kept::<_, 3>::default();
        for text in ["a", "b", "c"] {
            kept.add(text, "texts").unwrap();
        }
        assert_eq!(kept.add("d", "texts").unwrap_err().to_string(), "more than 3 texts");
        kept.remove(1);
        assert!(kept.get(1).is_err() && kept.get(7).is_err());
        assert_eq!(kept.add("d", "texts").unwrap(), 1);
        assert_eq!(*kept.get(1).unwrap(), "d");
    }
}
