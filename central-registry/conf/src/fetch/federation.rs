//! Whose configuration is fetched beside the own one (`registry-and-globalconf.md` 6): partners whose external anchor stands in
//! the own private parameters and whom the operator allows. Anchors in a partner's configuration are never followed.

use std::collections::BTreeMap;

use super::FetchOptions;
use crate::{
    anchor::Anchor,
    files::{chain, checked_directory_name},
    model::PrivateParameters,
};

/// Partners and what is wrong with their anchors.
#[derive(Debug, Default)]
pub(super) struct Partners {
    pub(super) anchors: BTreeMap<String, Anchor>,
    pub(super) warnings: Vec<String>,
}

pub(super) fn partners(
    private: Option<&PrivateParameters>,
    own_instance: &str,
    options: &FetchOptions,
) -> Partners {
    let mut partners = Partners::default();
    for content in private.iter().flat_map(|private| &private.anchors) {
        let instance = content.instance.clone();
        if !options.federations.allow(&instance) {
            continue;
        }
        let refused = if instance == own_instance {
            Some("it is of the own instance".to_owned())
        } else if checked_directory_name(&instance).is_err() {
            Some("its instance cannot be the name of a folder".to_owned())
        } else if partners.anchors.contains_key(&instance) {
            Some("there is another one of the same instance".to_owned())
        } else if partners.anchors.len() == PARTNERS_MAX {
            Some(format!("there are more than {PARTNERS_MAX} partners"))
        } else {
            match Anchor::render(content) {
                Ok(anchor) => {
                    partners.anchors.insert(instance.clone(), anchor);
                    None
                }
                Err(error) => Some(chain(&error)),
            }
        };
        if let Some(reason) = refused {
            let shown: String = instance.chars().take(SHOWN_CHARACTERS).collect();
            partners.warnings.push(format!(
                "the anchor of {shown:?} in the private parameters is not used: {reason}"
            ));
        }
    }
    partners
}

const PARTNERS_MAX: usize = 64;
const SHOWN_CHARACTERS: usize = 60;
