"""Platform ``yarn``: a job is an application on Hadoop YARN, by plain HTTP from the client.

The client speaks the ResourceManager's REST, WebHDFS and the log endpoints; in the application's one container our
application master (``master``) runs the job as its child. There is no Java and no Hadoop of ours anywhere.
"""
