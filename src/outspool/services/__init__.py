"""The application's services: acceptance, templates, delivery and doctor. They use the outside world through ports."""
