//! How many stacks a call of a component may hold at once.
//!
//! The threat: wasmtime runs each call between the components within a component on a stack of its own, and a component may
//! consist of many. One call whose parts all wait would take the stacks of many other calls, which then fail. The policy: the
//! instances that can wait are counted when the component is loaded, and each call takes as many permits of the pool as its
//! stacks need. An instance without core code has nothing that could wait. One that waits is not entered again until it goes on,
//! so it holds one stack at most.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef,
    Encoding, Error, Instance, Parser, Payload,
};

/// Stacks that a call may hold beside those of its instances: one that waits for work, and one that is kept for later.
const OTHER_STACKS: u64 = 2;

/// The stacks that one call of the component may hold at once.
///
/// # Errors
/// The bytes are not a component.
pub(crate) fn required_stacks(component: &[u8]) -> Result<u64, Error> {
    let mut counter = Counter::default();
    for payload in Parser::new(0).parse_all(component) {
        counter.read(payload?)?;
    }
    Ok(counter.root.saturating_add(OTHER_STACKS))
}

/// Counts the instances that a component creates, with those within them.
#[derive(Default)]
struct Counter {
    /// The component or module that is read, within those around it.
    open: Vec<Level>,
    /// The most instances of any component so far. A component that comes from outside is one of these.
    largest: u64,
    root: u64,
}

#[derive(Default)]
struct Level {
    is_component: bool,
    /// What each component of the index space creates if it is instantiated.
    components: Vec<u64>,
    has_core_code: bool,
    /// What the instances of other components create.
    nested: u64,
}

impl Counter {
    fn read(&mut self, payload: Payload<'_>) -> Result<(), Error> {
        match payload {
            Payload::Version { encoding, .. } => {
                let is_component = encoding == Encoding::Component;
                self.open.push(Level { is_component, ..Level::default() });
            }
            Payload::End(_) => self.close(),
            Payload::InstanceSection(section) => {
                for instance in section {
                    if let (Instance::Instantiate { .. }, Some(level)) = (instance?, self.open.last_mut()) {
                        level.has_core_code = true;
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        let created = self.created_by(0, component_index);
                        if let Some(level) = self.open.last_mut() {
                            level.nested = level.nested.saturating_add(created);
                        }
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    match alias? {
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                            self.define(self.created_by(count, index));
                        }
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                            self.define(self.largest);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    if let ComponentTypeRef::Component(_) = import?.ty {
                        self.define(self.largest);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Component {
                        self.define(self.created_by(0, export.index));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What the component with this index creates, `outer` levels further out.
    fn created_by(&self, outer: u32, index: u32) -> u64 {
        let level = self.open.iter().rev().nth(outer as usize);
        level.and_then(|level| level.components.get(index as usize)).copied().unwrap_or(self.largest)
    }

    /// Adds a component to the index space of the level that is read.
    fn define(&mut self, created: u64) {
        if let Some(level) = self.open.last_mut() {
            level.components.push(created);
        }
    }

    fn close(&mut self) {
        let Some(level) = self.open.pop().filter(|level| level.is_component) else { return };
        let created = level.nested.saturating_add(u64::from(level.has_core_code));
        self.largest = self.largest.max(created);
        match self.open.last_mut() {
            Some(parent) => parent.components.push(created),
            None => self.root = created,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
    const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

    /// A section of a component, with a length in two bytes of LEB128.
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let low = u8::try_from(content.len() & 0x7f).unwrap() | 0x80;
        let high = u8::try_from(content.len() >> 7).unwrap();
        [&[id, low, high], content].concat()
    }

    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [COMPONENT.to_vec(), sections.concat()].concat()
    }

    /// A component that instantiates an empty module.
    fn with_core_code() -> Vec<u8> {
        component(&[section(1, &MODULE), section(2, &[1, 0, 0, 0])])
    }

    /// A component that instantiates a component that it contains, `times` times.
    fn containing(inner: &[u8], times: u8) -> Vec<u8> {
        let instances = [vec![times], [0, 0, 0].repeat(usize::from(times))].concat();
        component(&[section(4, inner), section(5, &instances)])
    }

    #[test]
    fn every_instance_with_core_code_counts_however_deep_it_is() {
        let count = |bytes: &[u8]| required_stacks(bytes).unwrap() - OTHER_STACKS;
        assert_eq!(count(&component(&[])), 0);
        assert_eq!(count(&with_core_code()), 1);
        assert_eq!(count(&containing(&component(&[]), 50)), 0);
        assert_eq!(count(&containing(&with_core_code(), 50)), 50);
        let square = containing(&containing(&with_core_code(), 20), 20);
        assert_eq!(count(&square), 400);
        // Deep nesting is counted without being built.
        let deep = (0..30).fold(with_core_code(), |inner, _| containing(&inner, 10));
        assert_eq!(count(&deep), u64::MAX - OTHER_STACKS, "more than any number");
    }

    #[test]
    fn a_component_that_is_aliased_or_exported_counts_as_what_it_is() {
        // An inner component instantiates, by an outer alias, the first component of the outer one.
        let alias = section(6, &[1, 4, 2, 1, 0]);
        let aliasing = component(&[alias, section(5, &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0])]);
        let outer =
            component(&[section(4, &with_core_code()), section(4, &aliasing), section(5, &[1, 0, 1, 0])]);
        assert_eq!(required_stacks(&outer).unwrap(), 3 + OTHER_STACKS);
    }

    #[test]
    fn bytes_that_are_no_component_are_an_error() {
        assert!(required_stacks(b"hello, world").is_err());
    }
}
