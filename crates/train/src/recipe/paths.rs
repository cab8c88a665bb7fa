//! Paths of a recipe, looked for from the current directory first and from the recipe's folder second; names on the Hub
//! get the commit that they mean, and addresses in a store stay as they are.

use super::error::RecipeError;
use super::{ModelRecipe, Recipe, TokenizerRecipe};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// See [`Recipe::resolve_paths`].
pub(super) fn resolve(recipe: &mut Recipe, recipe_folder: &Path) -> Result<(), RecipeError> {
    let current = Path::new(".");
    let folders = if recipe_folder.as_os_str().is_empty() { vec![current] } else { vec![current, recipe_folder] };
    for source in &mut recipe.data.sources {
        let key = format!("data.source {:?}", source.name);
        for path in source.path.iter_mut().chain(&mut source.target_path) {
            *path = find(&key, path, &folders, true)?;
        }
    }
    let data = &mut recipe.data;
    if let Some(path) = &mut data.prepared {
        *path = find("data.prepared", &path.to_string_lossy(), &folders, false)?.into();
    }
    let targets = data.held_out_target.iter_mut().map(|(domain, paths)| ("held_out_target", domain, paths));
    let domains = data.held_out.iter_mut().map(|(domain, paths)| ("held_out", domain, paths));
    for (table, domain, paths) in domains.chain(targets) {
        let key = format!("data.{table}.{domain}");
        for path in paths {
            *path = find(&key, path, &folders, true)?;
        }
    }
    if let TokenizerRecipe::Load { path } = &mut recipe.tokenizer {
        *path = find("tokenizer.path", &path.to_string_lossy(), &folders, false)?.into();
    }
    if let ModelRecipe::From { from, .. } = &mut recipe.model {
        *from = find("model.from", &from.to_string_lossy(), &folders, false)?.into();
    }
    Ok(())
}

fn find(key: &str, path: &str, folders: &[&Path], globs: bool) -> Result<String, RecipeError> {
    if loam_hub::is_reference(path) {
        // With the commit that it means today, so that the recipe does the same run tomorrow.
        return loam_hub::pinned(path).map_err(|error| RecipeError::Hub { key: key.to_owned(), source: error });
    }
    if globs && loam_hub::store::is_address(path) {
        // A store keeps no commits; what is there is found when it is read.
        loam_hub::store::Address::parse(path)
            .map_err(|error| RecipeError::Hub { key: key.to_owned(), source: error })?;
        return Ok(path.to_owned());
    }
    // An absolute path is the same from anywhere.
    let folders = if Path::new(path).is_absolute() { &folders[..1] } else { folders };
    let fail = |reason: &str| RecipeError::PathNotFound {
        key: key.to_owned(),
        path: path.to_owned(),
        reason: reason.to_owned(),
        looked_in: folders.iter().map(|folder| absolute(folder)).collect(),
    };
    let text = |found: PathBuf| {
        found.into_os_string().into_string().map_err(|_| fail("leads through a folder whose name is not UTF-8"))
    };
    for folder in folders {
        let candidate = folder.join(path);
        match fs::metadata(&candidate) {
            Ok(_) => return text(absolute(&candidate)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(fail(&format!("cannot be read: {error}"))),
        }
    }
    if !globs || !path.contains(['*', '?', '[']) {
        return Err(fail("does not exist"));
    }
    glob::Pattern::new(path).map_err(|error| fail(&format!("is not a valid glob: {}", error.msg)))?;
    for folder in folders {
        // Characters of the folder itself are not meant as a pattern.
        let pattern = if Path::new(path).is_absolute() {
            path.to_owned()
        } else {
            let folder = text(absolute(folder))?;
            format!("{}/{path}", glob::Pattern::escape(folder.trim_end_matches('/')))
        };
        let mut matches = loam_corpus::glob_files(&pattern).map_err(|_| fail("is not a valid glob"))?;
        if matches.any(|found| found.is_ok()) {
            return Ok(pattern);
        }
    }
    Err(fail("matches no file"))
}

/// Without links and `..` where the path exists.
fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_directory_first_recipe_folder_second() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let recipes = root.join("recipes [old]");
        for folder in [&recipes, &root.join("data/part"), &root.join("model")] {
            fs::create_dir_all(folder).unwrap();
        }
        for file in ["data/a.txt", "data/part/b.txt", "data/[c].txt", "tokenizer.json"] {
            fs::write(root.join(file), "x").unwrap();
        }
        let mut recipe: Recipe = r#"
            data.train = ["../data/a.txt", "../data/**/*.txt", "../data/[c].txt", "Cargo.toml"]
            data.held_out.x = "../data"
            data.held_out.y = "s3://bucket/a/*.txt"
            tokenizer.path = "../tokenizer.json"
            model.from = "../model"
        "#
        .parse()
        .unwrap();
        recipe.resolve_paths(&recipes).unwrap();
        let at = |path: &str| root.join(path).to_str().unwrap().to_owned();
        let paths = &recipe.data.sources[0].path;
        assert_eq!((&paths[0], &paths[2]), (&at("data/a.txt"), &at("data/[c].txt")));
        assert_eq!(glob::glob(&paths[1]).unwrap().count(), 3, "{}", paths[1]);
        // Tests run in the folder of their crate.
        assert_eq!(Path::new(&paths[3]), std::env::current_dir().unwrap().join("Cargo.toml").canonicalize().unwrap());
        assert_eq!(recipe.data.held_out["x"], [at("data")]);
        assert_eq!(recipe.data.held_out["y"], ["s3://bucket/a/*.txt"]);
        assert_eq!(recipe.tokenizer, TokenizerRecipe::Load { path: root.join("tokenizer.json") });
        assert_eq!(recipe.model, ModelRecipe::From { from: root.join("model"), context: None });
        let once = recipe.clone();
        recipe.resolve_paths(Path::new("/")).unwrap();
        assert_eq!(recipe, once);
        assert_eq!(recipe.to_toml().parse::<Recipe>().unwrap(), once);
    }

    #[test]
    fn what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let complaint = |path: &str| {
            let mut recipe: Recipe = format!("data.train = {path:?}").parse().unwrap();
            recipe.resolve_paths(folder.path()).unwrap_err().to_string()
        };
        let message = complaint("no.txt");
        assert!(message.starts_with("data.source \"train\": no.txt does not exist; looked in /"), "{message}");
        assert!(message.ends_with(&format!(" and {}", folder.path().canonicalize().unwrap().display())), "{message}");
        assert!(complaint("*.nothing").contains("*.nothing matches no file"));
        assert!(complaint("a**b").contains("is not a valid glob"));
        assert!(complaint("/no/such/file").contains("does not exist"));
        assert!(complaint("s3://bucket/../x").contains("no URL can hold"));
        let mut recipe: Recipe = "data.train = \"Cargo.toml\"\nmodel.from = \"m*\"".parse().unwrap();
        let message = recipe.resolve_paths(Path::new("")).unwrap_err().to_string();
        assert!(message.starts_with("model.from: m* does not exist"), "{message}");
    }
}
