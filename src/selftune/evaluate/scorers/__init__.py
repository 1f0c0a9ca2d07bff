"""One file per scorer, named as OpenAI names its graders."""
